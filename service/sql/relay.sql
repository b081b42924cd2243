-- name: take_lease
-- Take the lease where nobody holds it, or where $2 does; no row otherwise.
INSERT INTO relay.lease AS lease (topic, generation, owner, expires_at)
VALUES ($1, 1, $2, clock_timestamp() + make_interval(secs => $3))
ON CONFLICT ON CONSTRAINT lease_pk DO UPDATE
SET generation = lease.generation + 1, owner = excluded.owner, expires_at = excluded.expires_at
WHERE lease.expires_at < clock_timestamp() OR lease.owner = excluded.owner
RETURNING lease.generation;

-- name: renew_lease
-- No row where somebody else has taken it.
UPDATE relay.lease SET expires_at = clock_timestamp() + make_interval(secs => $3)
WHERE topic = $1 AND generation = $2
RETURNING generation;

-- name: release_lease
UPDATE relay.lease SET expires_at = '-infinity' WHERE topic = $1 AND generation = $2;

-- name: progress
SELECT topic_id, epoch, position, tails FROM relay.progress WHERE topic = $1;

-- name: recorded
-- Whether some process holds the right to publish to the topic, and how far it has recorded to be.
SELECT lease.expires_at > clock_timestamp(), progress.position
FROM relay.lease LEFT JOIN relay.progress ON progress.topic = lease.topic
WHERE lease.topic = $1;

-- name: record_progress
-- Renews the lease and records, or does neither: no row where somebody else has taken the lease.
WITH held AS (
    UPDATE relay.lease SET expires_at = clock_timestamp() + make_interval(secs => $3)
    WHERE topic = $1 AND generation = $2
    RETURNING topic
)
INSERT INTO relay.progress AS progress (topic, topic_id, epoch, position, tails, recorded_at)
SELECT held.topic, $4, $5, $6, $7, clock_timestamp() FROM held
ON CONFLICT ON CONSTRAINT progress_pk DO UPDATE
SET topic_id = excluded.topic_id, epoch = excluded.epoch, position = excluded.position,
    tails = excluded.tails, recorded_at = excluded.recorded_at
RETURNING progress.position;
