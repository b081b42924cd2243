-- name: versions
SELECT version, state FROM projection.version WHERE projection = $1 AND state <> 'dropped' ORDER BY version;

-- name: kept_up_to_date
-- What is not read and yet fed: what was read before, and what is built once it is filled.
SELECT version FROM projection.version WHERE projection = $1 AND (
    state = 'kept'
    OR state = 'building' AND EXISTS (SELECT FROM projection.checkpoint AS place
                                      WHERE place.projection = $1 AND place.version = version.version))
ORDER BY version;
