-- name: now
-- The database's clock, by which events are dated too.
SELECT now();

-- name: relay
-- Whether some process holds the right to publish to the topic, how far the relay has recorded to be,
-- and the position of each partition's last record. No row: no relay was ever there.
SELECT lease.expires_at > now(), progress.position, progress.tails
FROM relay.lease LEFT JOIN relay.progress ON progress.topic = lease.topic
WHERE lease.topic = $1;

-- name: projections
-- Of what is shown now; other versions are being built, or are kept for going back. Of those that were
-- added every version, and whether a worker has just applied something: one may be building.
SELECT CASE WHEN moved_at IS NULL THEN projection ELSE projection || '_v' || version END AS name,
       partition, position, coalesce(moved_at > now() - make_interval(secs => $1), false)
FROM read_model.progress
WHERE projection <> 'customers' OR version IN (SELECT checkpoint.version FROM read_model.checkpoint)
ORDER BY name, partition;

-- name: parked
-- How many customers are parked for which reason, and since when.
SELECT reason, count(*), min(parked_at) FROM read_model.parked GROUP BY reason ORDER BY reason;
