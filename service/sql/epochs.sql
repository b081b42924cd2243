-- name: at_work
-- Names of the roles that are connected to this database, and `relay` where its lease is held.
SELECT name FROM (
    SELECT substr(application_name, 11) AS name FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND application_name LIKE 'customers-%' AND application_name <> 'customers-cli'
    UNION
    SELECT 'relay' FROM relay.lease WHERE expires_at > clock_timestamp()
) AS found ORDER BY name;

-- name: begin_epoch
SELECT ended, epoch, position FROM log.begin_epoch();

-- name: forget_published
-- What was published under another name is no place to go on from.
DELETE FROM relay.progress;

-- name: past_epochs
SELECT epoch, ended_at_position, ended_at FROM log.past_epoch ORDER BY ended_at, epoch;
