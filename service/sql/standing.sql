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
-- Of what is shown now; other versions are being built, or are kept for going back.
SELECT progress.projection, progress.partition, progress.position
FROM read_model.progress
WHERE progress.projection <> 'customers' OR progress.version IN (SELECT checkpoint.version FROM read_model.checkpoint)
ORDER BY progress.projection, progress.partition;

-- name: parked
-- How many customers are parked for which reason, and since when.
SELECT reason, count(*), min(parked_at) FROM read_model.parked GROUP BY reason ORDER BY reason;
