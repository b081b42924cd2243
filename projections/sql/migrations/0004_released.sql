-- What changes in a read model without a step in the log: a parked customer goes on. Readers who keep
-- what they have read must notice it, and so must the topic of states.

-- Rises, in the same transaction, with every such change; added to the positions by which readers
-- tell whether anything was applied.
CREATE TABLE projection.amendment (
    projection text COLLATE "C" NOT NULL,
    version    integer          NOT NULL,
    number     bigint           NOT NULL,
    CONSTRAINT amendment_pk PRIMARY KEY (projection, version)
);
INSERT INTO projection.amendment (projection, version, number) VALUES ('customers', 1, 0);
CREATE VIEW read_model.amendment AS
    SELECT number FROM projection.amendment WHERE projection = 'customers' AND version = 1;

-- Whose state in the topic is older than what is shown, and no event will tell. Taken out once it is sent.
CREATE TABLE projection.outdated_state (
    customer_id text COLLATE "C" NOT NULL,
    amendment   bigint           NOT NULL,  -- the last one that changed what is shown of the customer
    CONSTRAINT outdated_state_pk PRIMARY KEY (customer_id)
);
CREATE VIEW read_model.outdated_state AS SELECT customer_id, amendment FROM projection.outdated_state;
