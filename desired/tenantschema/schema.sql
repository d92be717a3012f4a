-- A tenant's database as the oldest supported version of the platform has it,
-- as far as the reconciler reads it.
CREATE TYPE workspace_status AS ENUM (
    'provisioning', 'online', 'offline', 'degraded', 'failed', 'removed',
    'paused', 'hibernating', 'hibernated', 'awaiting_agent'
);

CREATE TABLE workspaces (
    id                uuid PRIMARY KEY,
    name              text NOT NULL,
    role              text,
    tier              integer NOT NULL DEFAULT 1,
    status            workspace_status,
    runtime           text,
    instance_id       text,
    parent_id         uuid,
    active_tasks      integer NOT NULL DEFAULT 0,
    last_sample_error text,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    last_heartbeat_at timestamptz
);

CREATE TABLE workspace_secrets (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id       uuid NOT NULL,
    key                text NOT NULL,
    encrypted_value    bytea NOT NULL,
    encryption_version integer NOT NULL DEFAULT 0,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, key)
);

CREATE TABLE global_secrets (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key                text NOT NULL UNIQUE,
    encrypted_value    bytea NOT NULL,
    encryption_version integer NOT NULL DEFAULT 0,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now()
);
