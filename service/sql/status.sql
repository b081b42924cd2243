-- name: relay
-- Whether some process holds the right to publish to the topic, and how far it has recorded to be.
SELECT lease.expires_at > clock_timestamp(), progress.position
FROM relay.lease LEFT JOIN relay.progress ON progress.topic = lease.topic
WHERE lease.topic = $1;
