-- How a version of the read model "customers" is written: a batch at a time, by functions that take
-- one array per column. They switch scans and hash joins off, because plans are kept for a session
-- and one made while a table was empty must never scan it when it is large. Rows come sorted by id,
-- so that two writers who meet wait for each other and do not deadlock. As read_model.sql.

-- name: functions
-- What is shown now of the customers of a batch; a row for each one asked for, in that order. A
-- customer with several orders in the batch is asked for once with each, and with a tenant only the
-- first time: that is the row in which the customer is shown.
CREATE FUNCTION {schema}.present(customers text[], tenants text[], orders text[])
RETURNS TABLE (
    version bigint, is_parked boolean, document text, tenant_currency text, anonymous_reference text,
    order_version bigint, currency text, amount bigint, is_countable boolean, placed_at timestamptz
) LANGUAGE sql STABLE SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
    SELECT customer.version,
           CASE WHEN asked.tenant IS NULL THEN NULL
                WHEN customer.id IS NOT NULL THEN customer.is_stale
                ELSE EXISTS (SELECT FROM projection.parked WHERE parked.projection = 'customers'
                             AND parked.version = {version} AND parked.customer_id = asked.customer_id)
           END,
           customer.document, tenant.currency, customer.anonymous_reference,
           held.order_version, held.currency, held.amount, held.is_countable, held.placed_at
    FROM unnest(customers, tenants, orders) WITH ORDINALITY AS asked (customer_id, tenant, order_id, number)
    LEFT JOIN {schema}.customer ON asked.tenant IS NOT NULL AND customer.id = asked.customer_id
    LEFT JOIN access.tenant ON tenant.name = asked.tenant
    LEFT JOIN {schema}.contribution AS held
           ON held.customer_id = asked.customer_id AND held.order_id = asked.order_id
    ORDER BY asked.number
$$;

-- Every batch: where each partition now stands, the customers, and what orders have changed. Raises
-- checkpoint_unmoved where another writer has moved a partition since it was read, or has set it to the
-- beginning of another topic (this one has been replaced), customer_unmoved where a customer is no longer at the version that was read.
--
-- p: partitions. c: customers, c_old = the version they were read at, 0 = none. a: activity of those
-- whose tags and activity stay as they are. o: orders.
CREATE FUNCTION {schema}.apply(
    p_epoch text, p_partition integer[], p_seen bigint[], p_seen_offset bigint[], p_position bigint[], p_offset bigint[], p_time timestamptz[],
    c_id text[], c_tenant text[], c_old bigint[], c_version bigint[], c_position bigint[], c_document text[], c_item text[],
    a_id text[], a_spent bigint[], a_orders integer[], a_updated timestamptz[], a_last timestamptz[],
    o_customer text[], o_id text[], o_version bigint[], o_currency text[], o_amount bigint[], o_countable boolean[],
    o_placed timestamptz[], o_state text[]
) RETURNS void LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    moved   bigint;
    changed bigint;
    added   bigint := 0;
BEGIN
    -- A crash may lose the last transactions whole, checkpoint and rows together: the log has them.
    PERFORM set_config('synchronous_commit', 'off', true);

    UPDATE projection.checkpoint AS held
    SET position = new.position, topic_offset = new.topic_offset, event_time = new.event_time
    FROM unnest(p_partition, p_seen, p_seen_offset, p_position, p_offset, p_time)
         AS new (partition, seen, seen_offset, position, topic_offset, event_time)
    WHERE held.projection = 'customers' AND held.version = {version} AND held.partition = new.partition
      AND held.epoch = p_epoch AND held.position = new.seen
      AND held.topic_offset = new.seen_offset;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> cardinality(p_partition) THEN
        RAISE EXCEPTION 'another writer has moved the checkpoint'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'checkpoint_unmoved';
    END IF;

    UPDATE {schema}.customer AS held
    SET version = new.version, position = new.position, document = new.document, item = new.item
    FROM unnest(c_id, c_old, c_version, c_position, c_document, c_item) AS new (id, old, version, position, document, item)
    WHERE held.id = new.id AND held.version = new.old
      AND (new.version > new.old OR held.document IS NOT NULL);  -- nobody is hidden twice
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed < cardinality(c_id) THEN
        INSERT INTO {schema}.customer (id, tenant, version, position, document, item)
        SELECT new.id, new.tenant, new.version, new.position, new.document, new.item
        FROM unnest(c_id, c_tenant, c_old, c_version, c_position, c_document, c_item)
             AS new (id, tenant, old, version, position, document, item)
        WHERE new.old = 0
        ON CONFLICT ON CONSTRAINT customer_pk DO NOTHING;
        GET DIAGNOSTICS added = ROW_COUNT;
    END IF;
    IF changed + added <> cardinality(c_id) THEN
        RAISE EXCEPTION 'another writer has changed a customer'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'customer_unmoved';
    END IF;

    UPDATE {schema}.activity AS held
    SET total_spent = new.total_spent, order_count = new.order_count,
        updated_at = new.updated_at, last_order_at = new.last_order_at
    FROM unnest(a_id, a_spent, a_orders, a_updated, a_last) AS new (id, total_spent, order_count, updated_at, last_order_at)
    WHERE held.id = new.id;

    INSERT INTO {schema}.contribution
        (customer_id, order_id, order_version, currency, amount, is_countable, placed_at, order_state)
    SELECT new.customer_id, new.order_id, new.order_version, new.currency, new.amount, new.is_countable, new.placed_at, new.order_state
    FROM unnest(o_customer, o_id, o_version, o_currency, o_amount, o_countable, o_placed, o_state)
         AS new (customer_id, order_id, order_version, currency, amount, is_countable, placed_at, order_state)
    ON CONFLICT ON CONSTRAINT contribution_pk DO UPDATE
    SET order_version = excluded.order_version, currency = excluded.currency, amount = excluded.amount,
        is_countable = excluded.is_countable, placed_at = excluded.placed_at, order_state = excluded.order_state;
END $$;

-- After apply, in its transaction: what creations, deletions and changes of names, e-mail, tags and
-- activity touch beside. `tags` and `grams` are arrays as text.
--
-- l: customers to be listed or listed anew. w: searched words. g: gone. r and t: tags removed and added.
CREATE FUNCTION {schema}.apply_listing(
    l_id text[], l_tenant text[], l_created timestamptz[], l_email text[], l_email_key text[], l_first_key text[],
    l_last_key text[], l_active boolean[], l_tags text[], l_spent bigint[], l_orders integer[], l_updated timestamptz[], l_last timestamptz[],
    w_id text[], w_tenant text[], w_words text[], w_grams text[],
    g_id text[],
    r_tag integer[], r_created timestamptz[], r_id text[],
    t_tag integer[], t_created timestamptz[], t_id text[]
) RETURNS void LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
BEGIN
    INSERT INTO {schema}.profile AS held (id, tenant, created_at, email, email_key, first_key, last_key, is_active, tags)
    SELECT new.id, new.tenant, new.created_at, new.email, new.email_key, new.first_key, new.last_key, new.is_active, new.tags::integer[]
    FROM unnest(l_id, l_tenant, l_created, l_email, l_email_key, l_first_key, l_last_key, l_active, l_tags)
         AS new (id, tenant, created_at, email, email_key, first_key, last_key, is_active, tags)
    ON CONFLICT ON CONSTRAINT profile_pk DO UPDATE
    SET email = excluded.email, email_key = excluded.email_key, first_key = excluded.first_key,
        last_key = excluded.last_key, is_active = excluded.is_active, tags = excluded.tags;

    INSERT INTO {schema}.activity AS held (id, tenant, total_spent, order_count, updated_at, last_order_at, is_active, tags)
    SELECT new.id, new.tenant, new.total_spent, new.order_count, new.updated_at, new.last_order_at, new.is_active, new.tags::integer[]
    FROM unnest(l_id, l_tenant, l_spent, l_orders, l_updated, l_last, l_active, l_tags)
         AS new (id, tenant, total_spent, order_count, updated_at, last_order_at, is_active, tags)
    ON CONFLICT ON CONSTRAINT activity_pk DO UPDATE
    SET total_spent = excluded.total_spent, order_count = excluded.order_count, updated_at = excluded.updated_at,
        last_order_at = excluded.last_order_at, is_active = excluded.is_active, tags = excluded.tags;

    INSERT INTO {schema}.search AS held (id, tenant, words, grams)
    SELECT new.id, new.tenant, new.words, new.grams::integer[]
    FROM unnest(w_id, w_tenant, w_words, w_grams) AS new (id, tenant, words, grams)
    ON CONFLICT ON CONSTRAINT search_pk DO UPDATE SET words = excluded.words, grams = excluded.grams;

    IF cardinality(g_id) > 0 THEN
        DELETE FROM {schema}.profile AS held USING unnest(g_id) AS gone (id) WHERE held.id = gone.id;
        DELETE FROM {schema}.activity AS held USING unnest(g_id) AS gone (id) WHERE held.id = gone.id;
        DELETE FROM {schema}.search AS held USING unnest(g_id) AS gone (id) WHERE held.id = gone.id;
    END IF;

    DELETE FROM {schema}.tagged AS held
    USING unnest(r_tag, r_created, r_id) AS gone (tag, created_at, id)
    WHERE held.tag = gone.tag AND held.created_at = gone.created_at AND held.id = gone.id;

    INSERT INTO {schema}.tagged (tag, created_at, id)
    SELECT new.tag, new.created_at, new.id FROM unnest(t_tag, t_created, t_id) AS new (tag, created_at, id);
END $$;

-- Last in the transaction, because every writer comes by here: rows of a few tenants and tags that
-- all of them touch. n: customers by tag and activity. d: customers by day.
CREATE FUNCTION {schema}.apply_counts(
    n_tenant text[], n_tag integer[], n_active boolean[], n_change bigint[],
    d_tenant text[], d_day date[], d_change bigint[]
) RETURNS void LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    done bigint[];  -- places in the arrays of what was there to be updated
BEGIN
    -- Updates first: a row that is inserted with a negative count is refused before it conflicts.
    WITH updated AS (
        UPDATE {schema}.counter AS held SET count = held.count + new.change
        FROM unnest(n_tenant, n_tag, n_active, n_change) WITH ORDINALITY AS new (tenant, tag, is_active, change, number)
        WHERE held.tenant = new.tenant AND held.tag = new.tag AND held.is_active = new.is_active
        RETURNING new.number
    )
    SELECT coalesce(array_agg(updated.number), '{}') INTO done FROM updated;
    IF cardinality(done) < cardinality(n_tenant) THEN
        INSERT INTO {schema}.counter AS held (tenant, tag, is_active, count)
        SELECT new.tenant, new.tag, new.is_active, new.change
        FROM unnest(n_tenant, n_tag, n_active, n_change) WITH ORDINALITY AS new (tenant, tag, is_active, change, number)
        WHERE new.number <> ALL (done)
        ON CONFLICT ON CONSTRAINT counter_pk DO UPDATE SET count = held.count + excluded.count;
    END IF;

    WITH updated AS (
        UPDATE {schema}.day AS held SET count = held.count + new.change
        FROM unnest(d_tenant, d_day, d_change) WITH ORDINALITY AS new (tenant, day, change, number)
        WHERE held.tenant = new.tenant AND held.day = new.day
        RETURNING new.number
    )
    SELECT coalesce(array_agg(updated.number), '{}') INTO done FROM updated;
    IF cardinality(done) < cardinality(d_tenant) THEN
        INSERT INTO {schema}.day AS held (tenant, day, count)
        SELECT new.tenant, new.day, new.change
        FROM unnest(d_tenant, d_day, d_change) WITH ORDINALITY AS new (tenant, day, change, number)
        WHERE new.number <> ALL (done)
        ON CONFLICT ON CONSTRAINT day_pk DO UPDATE SET count = held.count + excluded.count;
    END IF;
END $$;

-- The numbers of tags, those of new ones made: in a transaction of their own, so that nobody waits.
CREATE FUNCTION {schema}.tag_ids(tenants text[], names text[]) RETURNS TABLE (tenant text, name text, id integer)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO {schema}.tag (tenant, name)
    SELECT asked.tenant, asked.name FROM unnest(tenants, names) AS asked (tenant, name)
    WHERE NOT EXISTS (SELECT FROM {schema}.tag AS known WHERE known.tenant = asked.tenant AND known.name = asked.name)
    ORDER BY asked.tenant, asked.name
    ON CONFLICT ON CONSTRAINT tag_name DO NOTHING;
    RETURN QUERY
    SELECT known.tenant, known.name, known.id FROM unnest(tenants, names) AS asked (tenant, name)
    JOIN {schema}.tag AS known ON known.tenant = asked.tenant AND known.name = asked.name
    ORDER BY known.id;
END $$;

-- After apply, in its transaction, so the customers' rows are there and locked: customers that were
-- deleted, sorted by id. The orders that are known move; those of the batch itself are written after it.
CREATE FUNCTION {schema}.anonymize(customers text[], "references" text[], tenants text[], deleted timestamptz[])
RETURNS void LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
BEGIN
    UPDATE {schema}.customer AS held SET anonymous_reference = new.reference
    FROM unnest(customers, "references") AS new (id, reference) WHERE held.id = new.id;

    INSERT INTO {schema}.anonymous (reference, tenant, deleted_at)
    SELECT new.reference, new.tenant, new.deleted_at
    FROM unnest("references", tenants, deleted) AS new (reference, tenant, deleted_at);

    UPDATE {schema}.contribution AS held SET customer_id = new.reference
    FROM unnest(customers, "references") AS new (id, reference) WHERE held.customer_id = new.id;
END $$;
