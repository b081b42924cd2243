-- name: behind
-- Every version of every projection that is kept up to date, and has not applied this log up to $1:
-- the read model, those that were added, and the topic of states where there is one ($2).
SELECT wanted.projection, wanted.version,
       coalesce(min(CASE WHEN place.epoch = head.epoch THEN place.position ELSE 0 END), 0)
FROM log.head, (
    SELECT projection, version FROM projection.version WHERE state IN ('active', 'kept')
    UNION SELECT name, version FROM derived.projection
    UNION SELECT 'states', 1 WHERE $2
    UNION SELECT projection, version FROM projection.checkpoint AS place
          WHERE NOT EXISTS (SELECT FROM projection.version AS known
                            WHERE known.projection = place.projection AND known.version = place.version)
) AS wanted
LEFT JOIN projection.checkpoint AS place ON place.projection = wanted.projection AND place.version = wanted.version
GROUP BY wanted.projection, wanted.version
HAVING coalesce(min(CASE WHEN place.epoch = head.epoch THEN place.position ELSE 0 END), 0) < $1
ORDER BY wanted.projection, wanted.version;

-- name: building
SELECT version FROM projection.version WHERE state = 'building' ORDER BY version;

-- name: parked
SELECT count(*) FROM projection.parked WHERE position <= $1;

-- name: outdated
SELECT count(*) FROM projection.outdated_state;
