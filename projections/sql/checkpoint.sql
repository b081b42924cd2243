-- name: take_over
SELECT partition, epoch, position, topic_offset, event_time FROM projection.take_over($1, $2, $3, $4, $5);

-- name: take_over_unread
SELECT partition, epoch, position, topic_offset, event_time FROM projection.take_over_unread($1, $2, $3, $4, $5);

-- name: places
SELECT partition, epoch, position, topic_offset, event_time FROM projection.checkpoint
WHERE projection = $1 AND version = $2 AND partition = ANY ($3) ORDER BY partition;

-- name: position
-- Up to where all partitions are applied; NULL before the first worker has started.
SELECT min(position) FROM projection.checkpoint WHERE projection = $1 AND version = $2;

-- name: count_parked
SELECT count(*) FROM projection.parked WHERE projection = $1 AND version = $2;

-- name: follow_epoch
-- The log has another name now, and up to here it is the same log.
UPDATE projection.checkpoint SET epoch = $3 WHERE projection = $1 AND epoch = $2 RETURNING position;
