-- Projections that are added to the product, each a module and one table: docs/projections.md. Their
-- tables are made by `customers migrate`, derived.NAME_vVERSION, a row per customer; here is what all
-- of them share. Each can be dropped at any time and built again from the log.

CREATE SCHEMA derived;

-- Whose tables are made.
CREATE TABLE derived.projection (
    name     text COLLATE "C" NOT NULL,
    version  integer          NOT NULL,
    shape    text             NOT NULL,                -- SHA-256 of its SQL and its row's fields when the table was made
    moved_at timestamptz      NOT NULL DEFAULT now(),  -- when a worker last applied a batch, within a second
    CONSTRAINT projection_pk PRIMARY KEY (name, version)
);

-- How far each customer's stream is applied; also where the projection has no row of the customer. Below
-- heard_version the customer is parked: events were heard of that wait. After a deletion is_gone stays,
-- without any data, and there is no row for ever.
CREATE TABLE derived.reached (
    projection     text COLLATE "C" NOT NULL,
    version        integer          NOT NULL,
    customer_id    text COLLATE "C" NOT NULL,
    stream_version bigint           NOT NULL,  -- of the last event applied
    heard_version  bigint           NOT NULL,  -- of the last event heard of
    is_gone        boolean          NOT NULL,
    CONSTRAINT reached_pk PRIMARY KEY (projection, version, customer_id),
    CONSTRAINT reached_heard CHECK (heard_version >= stream_version)
) WITH (fillfactor = 80);

CREATE FUNCTION derived.table_of(fed text, fed_version integer) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT fed || '_v' || fed_version $$;

-- What is held of each customer, and of its row these fields, as JSON; NULL = no row.
CREATE FUNCTION derived.read(fed text, fed_version integer, fields text[], ids text[])
RETURNS TABLE (customer_id text, stream_version bigint, heard_version bigint, is_gone boolean, held_row text)
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    columns text := (SELECT string_agg(format('held.%I', field), ', ') FROM unnest(fields) AS field);
BEGIN
    RETURN QUERY EXECUTE format($sql$
        SELECT asked.id, coalesce(reached.stream_version, 0), coalesce(reached.heard_version, 0), coalesce(reached.is_gone, false),
               CASE WHEN held.customer_id IS NOT NULL THEN (SELECT to_jsonb(narrow)::text FROM (SELECT %2$s) AS narrow) END
        FROM unnest($3) AS asked (id)
        LEFT JOIN derived.reached ON reached.projection = $1 AND reached.version = $2 AND reached.customer_id = asked.id
        LEFT JOIN derived.%1$I AS held ON held.customer_id = asked.id
        ORDER BY asked.id
    $sql$, derived.table_of(fed, fed_version), columns) USING fed, fed_version, ids;
END $$;

-- A batch: where each partition now stands, the customers, their rows. Raises checkpoint_unmoved where
-- another writer has moved a partition since it was read, customer_unmoved where a customer is no longer
-- where it was read.
--
-- p: partitions. c: customers, c_old and c_old_heard = as they were read. row_of: a JSON array of whole
-- rows; without: whose rows go. parked_*: who waits from now on, and where. released: who waits no more.
CREATE FUNCTION derived.apply(
    fed text, fed_version integer, fields text[],
    p_epoch text, p_partition integer[], p_seen bigint[], p_seen_offset bigint[], p_position bigint[], p_offset bigint[], p_time timestamptz[],
    c_id text[], c_old bigint[], c_old_heard bigint[], c_version bigint[], c_heard bigint[], c_gone boolean[],
    row_of text, without text[],
    parked_id text[], parked_tenant text[], parked_version bigint[], parked_position bigint[], parked_reason text[], released text[]
) RETURNS void LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    columns text := (SELECT string_agg(format('%I', field), ', ') FROM unnest(fields) AS field);
    changes text := (SELECT string_agg(format('%1$I = excluded.%1$I', field), ', ') FROM unnest(fields) AS field);
    changed bigint;
    added   bigint := 0;
BEGIN
    -- A crash may lose the last transactions whole, checkpoint and rows together: the log has them.
    PERFORM set_config('synchronous_commit', 'off', true);

    UPDATE projection.checkpoint AS held
    SET position = new.position, topic_offset = new.topic_offset, event_time = new.event_time
    FROM unnest(p_partition, p_seen, p_seen_offset, p_position, p_offset, p_time)
         AS new (partition, seen, seen_offset, position, topic_offset, event_time)
    WHERE held.projection = fed AND held.version = fed_version AND held.partition = new.partition
      AND held.epoch = p_epoch AND held.position = new.seen AND held.topic_offset = new.seen_offset;
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed <> cardinality(p_partition) THEN
        RAISE EXCEPTION 'another writer has moved the checkpoint'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'checkpoint_unmoved';
    END IF;

    UPDATE derived.reached AS held
    SET stream_version = new.version, heard_version = new.heard, is_gone = new.gone
    FROM unnest(c_id, c_old, c_old_heard, c_version, c_heard, c_gone) AS new (id, old, old_heard, version, heard, gone)
    WHERE held.projection = fed AND held.version = fed_version AND held.customer_id = new.id
      AND held.stream_version = new.old AND held.heard_version = new.old_heard;
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed < cardinality(c_id) THEN
        INSERT INTO derived.reached (projection, version, customer_id, stream_version, heard_version, is_gone)
        SELECT fed, fed_version, new.id, new.version, new.heard, new.gone
        FROM unnest(c_id, c_old_heard, c_version, c_heard, c_gone) AS new (id, old_heard, version, heard, gone)
        WHERE new.old_heard = 0 ORDER BY new.id
        ON CONFLICT ON CONSTRAINT reached_pk DO NOTHING;
        GET DIAGNOSTICS added = ROW_COUNT;
    END IF;
    IF changed + added <> cardinality(c_id) THEN
        RAISE EXCEPTION 'another writer has changed a customer'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'customer_unmoved';
    END IF;

    EXECUTE format('DELETE FROM derived.%I WHERE customer_id = ANY ($1)', derived.table_of(fed, fed_version)) USING without;
    EXECUTE format(
        'INSERT INTO derived.%1$I (customer_id, tenant, %2$s) SELECT customer_id, tenant, %2$s'
        ' FROM jsonb_populate_recordset(NULL::derived.%1$I, $1) ORDER BY customer_id'
        ' ON CONFLICT (customer_id) DO UPDATE SET %3$s',
        derived.table_of(fed, fed_version), columns, changes) USING row_of::jsonb;

    DELETE FROM projection.parked AS held
    WHERE held.projection = fed AND held.version = fed_version AND held.customer_id = ANY (released);
    INSERT INTO projection.parked (projection, version, customer_id, tenant, stream_version, position, reason)
    SELECT fed, fed_version, new.id, new.tenant, new.version, new.position, new.reason
    FROM unnest(parked_id, parked_tenant, parked_version, parked_position, parked_reason)
         AS new (id, tenant, version, position, reason) ORDER BY new.id
    ON CONFLICT ON CONSTRAINT parked_pk DO UPDATE
    SET stream_version = excluded.stream_version, position = excluded.position, reason = excluded.reason;

    -- Last, since all workers of the projection touch it; and seldom.
    UPDATE derived.projection AS held SET moved_at = clock_timestamp()
    WHERE held.name = fed AND held.version = fed_version AND held.moved_at < clock_timestamp() - interval '1 second'
      AND cardinality(p_partition) > 0;
END $$;

-- Everything of one version; whether there was anything. For the owner: nobody else may drop its table.
CREATE FUNCTION derived.drop_version(fed text, fed_version integer) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM derived.projection AS held WHERE held.name = fed AND held.version = fed_version;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE derived.%I', derived.table_of(fed, fed_version));
    DELETE FROM projection.checkpoint AS held WHERE held.projection = fed AND held.version = fed_version;
    DELETE FROM projection.parked AS held WHERE held.projection = fed AND held.version = fed_version;
    DELETE FROM derived.reached AS held WHERE held.projection = fed AND held.version = fed_version;
    RETURN true;
END $$;

-- For `customers erase verify`: how many rows of each table name the customer, and tell about it.
CREATE FUNCTION read_model.derived_rows(of_customer text)
RETURNS TABLE (place text, held bigint, readable bigint) LANGUAGE plpgsql STABLE AS $$
DECLARE
    name text;
    rows bigint;
BEGIN
    RETURN QUERY SELECT 'derived.reached', count(*), 0::bigint FROM derived.reached WHERE customer_id = of_customer;  -- versions
    FOR name IN SELECT derived.table_of(made.name, made.version) FROM derived.projection AS made ORDER BY made.name, made.version LOOP
        EXECUTE format('SELECT count(*) FROM derived.%I WHERE customer_id = $1', name) INTO rows USING of_customer;
        RETURN QUERY SELECT 'derived.' || name, rows, rows;
    END LOOP;
END $$;
