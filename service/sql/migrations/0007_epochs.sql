-- Epochs: what the log was called before it was restored, so that nobody mixes up two histories.

-- One row per epoch that ended. Up to its position, the log of the next epoch is the same; whatever
-- was known of it beyond that position, in Kafka or at a caller, happened in no log any more.
CREATE TABLE log.past_epoch (
    epoch             text           NOT NULL,  -- its name, as log.head had it
    ended_at_position bigint         NOT NULL,  -- of the last event that the restored log has of it
    ended_at          timestamptz(3) NOT NULL,  -- when the next one began
    CONSTRAINT past_epoch_pk PRIMARY KEY (epoch),
    CONSTRAINT past_epoch_position_not_negative CHECK (ended_at_position >= 0)
);

-- Give the log a new name. Invariant: no append is under way meanwhile, since the lock is theirs, so
-- the position that is recorded is the last one under the old name.
CREATE FUNCTION log.begin_epoch()
RETURNS TABLE (ended text, epoch text, "position" bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    present log.head;
    named   constant text := replace(gen_random_uuid()::text, '-', '');
BEGIN
    PERFORM pg_advisory_xact_lock(7305002);
    SELECT * INTO STRICT present FROM log.head;
    INSERT INTO log.past_epoch (epoch, ended_at_position, ended_at)
    VALUES (present.epoch, present.position, clock_timestamp());
    UPDATE log.head SET epoch = named WHERE is_only;
    RETURN QUERY SELECT present.epoch, named, present.position;
END $$;
