-- The relay: who publishes at present, and how far publishing has come.

CREATE SCHEMA relay;

-- One row per topic: the one process that may publish to it. Works without any session state.
CREATE TABLE relay.lease (
    topic      text COLLATE "C" NOT NULL,
    generation bigint           NOT NULL,  -- fencing token: another one with every taking
    owner      text             NOT NULL,  -- who holds or held it; for people
    expires_at timestamptz      NOT NULL,  -- by the database's clock; renewed while it is held
    CONSTRAINT lease_pk PRIMARY KEY (topic)
) WITH (fillfactor = 10);

-- One row per topic: everything up to `position` is acknowledged by Kafka.
CREATE TABLE relay.progress (
    topic       text COLLATE "C" NOT NULL,
    topic_id    text             NOT NULL,  -- Kafka's identity of it: changes when the topic is made again
    epoch       text             NOT NULL,  -- of the log that was published
    position    bigint           NOT NULL,  -- moves back only where the topic has lost records
    tails       bigint[]         NOT NULL,  -- per partition, the position of its last record; 0 = none
    recorded_at timestamptz(3)   NOT NULL,
    CONSTRAINT progress_pk PRIMARY KEY (topic),
    CONSTRAINT progress_position_not_negative CHECK (position >= 0)
) WITH (fillfactor = 10);
