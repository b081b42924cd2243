"""What each role is refused, and all that it is granted, written down.

Invariant: nothing here is asked of the code under test.
"""

from __future__ import annotations

from service.rights import ROLES

API, RELAY, PROJECTIONS, INTAKE = ROLES

# Of every role: the log cannot be rewritten, and nothing can be made, changed or dropped.
REFUSED_TO_ALL = (
    "UPDATE log.event SET type = 'x'",
    "DELETE FROM log.event",
    "TRUNCATE log.event",
    "INSERT INTO log.event SELECT * FROM log.event",
    "INSERT INTO log.event (position) VALUES (1)",
    "COPY log.event FROM STDIN",
    "UPDATE log.event_000000 SET type = 'x'",
    "DELETE FROM log.event_000000",
    "TRUNCATE log.event_000000",
    "INSERT INTO log.event_000000 (position) VALUES (1)",
    "SELECT position FROM log.event_000000",
    "DO $$ BEGIN LOCK TABLE log.event IN ACCESS EXCLUSIVE MODE; END $$",
    "ALTER TABLE log.event DISABLE TRIGGER ALL",
    "ALTER TABLE log.event DISABLE TRIGGER event_append_only",
    "ALTER TABLE log.event ADD COLUMN x integer",
    "ALTER TABLE log.event DETACH PARTITION log.event_000000",
    "DROP TRIGGER event_append_only ON log.event",
    "DROP TABLE log.event",
    "DROP TABLE log.event_000000",
    "DROP FUNCTION log.refuse_change() CASCADE",
    "CREATE OR REPLACE FUNCTION log.refuse_change() RETURNS trigger LANGUAGE sql AS 'SELECT 1'",
    "ALTER FUNCTION log.add_partition() SECURITY INVOKER",
    "SET session_replication_role = replica",
    "SELECT log.add_partition()",
    f"SELECT log.append_checked({', '.join(['NULL'] * 22)})",
    "SELECT log.release_claims_of(NULL)",
    "UPDATE log.head SET position = 0",
    "UPDATE log.head SET epoch = 'x'",
    "SELECT log.begin_epoch()",
    "SELECT epoch FROM log.past_epoch",
    "INSERT INTO log.past_epoch (epoch) VALUES ('x')",
    "DELETE FROM log.past_epoch",
    "SELECT log.lock_to_archive('event_000000')",
    "SELECT log.drop_partition('event_000000')",
    "SELECT log.make_detached('event_000000')",
    "SELECT log.finish_detached('event_000000', 1, 2)",
    "SELECT log.attach_partition('event_000000', 1, 2)",
    "INSERT INTO log.archived (first_position) VALUES (1)",
    "DELETE FROM log.archived",
    "INSERT INTO log.snapshot (customer_id) VALUES ('x')",
    "UPDATE log.snapshot SET sealed = ''",
    "DELETE FROM log.snapshot",
    "UPDATE log.stream SET version = 0",
    "DELETE FROM log.stream",
    "SELECT email FROM log.email_claim",
    "DELETE FROM log.email_claim",
    "DELETE FROM log.idempotency",
    "SELECT digest FROM log.accepted_order",
    "DELETE FROM log.accepted_order",
    "UPDATE vault.customer_key SET wrapped = NULL, destroyed_at = now()",
    "DELETE FROM vault.customer_key",
    "INSERT INTO vault.customer_key (customer_id, wrapped) VALUES ('x', '')",
    "DELETE FROM vault.wrapping_key",
    "UPDATE access.master_key SET fingerprint = ''",
    "INSERT INTO access.token SELECT * FROM access.token",
    "UPDATE access.token SET revoked_at = NULL",
    "INSERT INTO access.tenant (name, currency) VALUES ('x', 'USD')",
    "DELETE FROM public.schema_migration",
    "UPDATE read_model.customer SET document = NULL",
    "CREATE TABLE log.mine (x integer)",
    "CREATE TABLE public.mine (x integer)",
    "CREATE TABLE read_model.mine (x integer)",
    "CREATE TABLE customers_v1.mine (x integer)",
    "CREATE TABLE derived.mine (x integer)",
    "DELETE FROM derived.projection",
    "INSERT INTO derived.projection (name, version, shape) VALUES ('x', 1, '')",
    "SELECT derived.drop_version('x', 1)",
    "SELECT place FROM read_model.derived_rows('x')",
    "CREATE FUNCTION public.mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE TEMPORARY TABLE mine (x integer)",
    "CREATE SCHEMA mine",
    "DROP SCHEMA log CASCADE",
    "DROP SCHEMA vault CASCADE",
    "DROP VIEW read_model.customer",
    "DROP TABLE customers_v1.customer CASCADE",
    "TRUNCATE customers_v1.customer",
    "TRUNCATE projection.checkpoint",
    "ALTER TABLE customers_v1.customer ADD COLUMN x integer",
    "CREATE ROLE mine SUPERUSER",
    "ALTER ROLE customers_api SUPERUSER",
    "CREATE DATABASE mine",
    "ALTER SYSTEM SET fsync = off",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SELECT pg_read_file('PG_VERSION')",
)
APPENDS = f"SELECT log.append({', '.join(['NULL'] * 22)})"
FINDS = "SELECT * FROM log.find_appended(NULL, NULL)"
RECORDS = f"SELECT log.record_orders({', '.join(['NULL'] * 11)})"
RECORDS_ANY = f"SELECT log.record_any_orders({', '.join(['NULL'] * 11)})"
FORGETS = "SELECT log.forget_old_keys(0, 1)"
READS_EVENTS = "SELECT data FROM log.event"
READS_KEYS = "SELECT wrapped FROM vault.customer_key"
READS_TOKENS = "SELECT hash FROM access.token"
READS_SNAPSHOTS = "SELECT sealed FROM log.snapshot"
READS_TENANTS = "SELECT name FROM access.tenant"
READS_REQUESTS = "SELECT fingerprint FROM log.idempotency"
READS_SHOWN = "SELECT document FROM read_model.customer"
READS_MODEL = "SELECT document FROM customers_v1.customer"
WRITES_MODEL = "UPDATE customers_v1.customer SET document = NULL"
WRITES_PROGRESS = "UPDATE relay.progress SET position = 0"
WRITES_LEASE = "UPDATE relay.lease SET expires_at = '-infinity'"
WRITES_CHECKPOINT = "UPDATE projection.checkpoint SET position = 0"
REFUSED = {
    API: (
        "SELECT stream_version FROM derived.reached",
        *(FORGETS, RECORDS, RECORDS_ANY, READS_MODEL, WRITES_MODEL, WRITES_PROGRESS, WRITES_LEASE),
        WRITES_CHECKPOINT,
    ),
    RELAY: (
        *(APPENDS, FINDS, RECORDS, RECORDS_ANY, FORGETS, READS_TOKENS, READS_TENANTS),
        *(READS_REQUESTS, READS_SHOWN, READS_MODEL, WRITES_MODEL, WRITES_CHECKPOINT),
        READS_SNAPSHOTS,
    ),
    PROJECTIONS: (
        *(
            READS_SNAPSHOTS,
            APPENDS,
            FINDS,
            RECORDS,
            RECORDS_ANY,
            FORGETS,
            READS_TOKENS,
            READS_REQUESTS,
        ),
        *(WRITES_PROGRESS, WRITES_LEASE),
    ),
    INTAKE: (
        *(APPENDS, FINDS, RECORDS_ANY, FORGETS, READS_EVENTS, READS_KEYS, READS_TOKENS),
        *(READS_TENANTS, READS_REQUESTS, READS_SHOWN, READS_MODEL, WRITES_MODEL),
        *(WRITES_PROGRESS, WRITES_LEASE, WRITES_CHECKPOINT, READS_SNAPSHOTS),
    ),
}

# All that is granted, by the letters of PostgreSQL: r SELECT, a INSERT, w UPDATE, d DELETE,
# X EXECUTE, U USAGE. The read models are granted whole, so they are named by their schema.
GRANTED = """
customers_api U access log public read_model relay vault
customers_api r access.master_key access.tenant access.token
customers_api r log.archived log.event log.head log.idempotency log.snapshot log.stream
customers_api r public.schema_migration vault.customer_key vault.wrapping_key read_model.*
customers_api r relay.lease relay.progress
customers_api X log.append log.find_appended log.forget_old_keys
customers_relay U access log public relay vault
customers_relay r access.master_key log.archived log.event log.head public.schema_migration
customers_relay r vault.customer_key
customers_relay arw relay.lease relay.progress
customers_relay X log.page
customers_projections U access log public read_model projection vault customers_v1 derived
customers_projections r access.master_key access.tenant log.archived log.event log.head log.stream
customers_projections r public.schema_migration vault.customer_key read_model.*
customers_projections arwd projection.* customers_v1.* derived.reached
customers_projections rw derived.projection
customers_projections X log.page projection.* customers_v1.*
customers_projections X derived.table_of derived.read derived.apply
customers_intake U access log public
customers_intake r access.master_key log.head public.schema_migration
customers_intake X log.record_orders
"""
FIND_GRANTED = """
SELECT grantee.rolname, named.kind, named.name, acl.privilege_type
FROM (
    SELECT 'U' AS kind, nspname AS name, nspacl AS acl FROM pg_namespace
    UNION ALL
    SELECT 'r', relnamespace::regnamespace || '.' || relname, relacl FROM pg_class
    UNION ALL
    SELECT 'X', pronamespace::regnamespace || '.' || proname, proacl FROM pg_proc
    UNION ALL
    SELECT 'c', attrelid::regclass || '.' || attname, attacl FROM pg_attribute
    UNION ALL
    SELECT 'd', datname, datacl FROM pg_database WHERE datname = current_database()
) AS named, aclexplode(named.acl) AS acl
JOIN pg_roles AS grantee ON grantee.oid = acl.grantee
WHERE grantee.rolname = ANY ($1)
"""
# What everybody may, who has a way into the schemas.
FIND_PUBLIC = """
SELECT named.name FROM (
    SELECT oid::regprocedure::text AS name FROM pg_proc
    WHERE has_function_privilege('public', oid, 'EXECUTE')
      AND pronamespace::regnamespace::text = ANY ($1)
    UNION ALL
    SELECT oid::regclass::text FROM pg_class
    WHERE relkind IN ('r', 'p', 'v', 'm') AND relnamespace::regnamespace::text = ANY ($1)
      AND has_table_privilege('public', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
) AS named
"""
SCHEMAS = ("log", "access", "vault", "relay", "projection", "read_model", "customers_v1", "derived")
LETTERS = {
    "SELECT": "r",
    "INSERT": "a",
    "UPDATE": "w",
    "DELETE": "d",
    "EXECUTE": "X",
    "USAGE": "U",
}
MODELS = ("read_model.", "projection.", "customers_v1.")
