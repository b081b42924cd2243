-- Who may call, for which tenant; and which master key this database belongs to.

CREATE SCHEMA access;

CREATE TABLE access.tenant (
    name       text COLLATE "C" NOT NULL,
    currency   text COLLATE "C" NOT NULL,  -- ISO 4217; `totalSpent` is in it; fixed once orders exist
    created_at timestamptz(3)   NOT NULL DEFAULT now(),
    CONSTRAINT tenant_pk PRIMARY KEY (name),
    CONSTRAINT tenant_name_form CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    CONSTRAINT tenant_currency_form CHECK (currency ~ '^[A-Z]{3}$')
);

CREATE TABLE access.token (
    id         text COLLATE "C" NOT NULL,  -- shown as the actor of events: tok_…
    tenant     text COLLATE "C" NOT NULL,  -- all that the token may see and change
    name       text,                       -- what an operator calls it: a system's name, not a person's
    scopes     text[]           NOT NULL,  -- customers:read, customers:write, …
    hash       bytea            NOT NULL,  -- of the token's text, keyed by the master key; the text is nowhere
    created_at timestamptz(3)   NOT NULL DEFAULT now(),
    expires_at timestamptz(3),             -- refused from then on; NULL = never
    revoked_at timestamptz(3),             -- refused since; NULL = valid
    CONSTRAINT token_pk PRIMARY KEY (id),
    CONSTRAINT token_hash_unique UNIQUE (hash),
    CONSTRAINT token_of_tenant FOREIGN KEY (tenant) REFERENCES access.tenant (name)
);

-- At most one row: a digest of the master key, so that a wrong key is refused and not used.
CREATE TABLE access.master_key (
    is_only     boolean        NOT NULL DEFAULT true,
    fingerprint bytea          NOT NULL,  -- derived from the key; tells nothing about it
    created_at  timestamptz(3) NOT NULL DEFAULT now(),
    CONSTRAINT master_key_pk PRIMARY KEY (is_only),
    CONSTRAINT master_key_is_one_row CHECK (is_only)
);
