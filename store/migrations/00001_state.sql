-- +goose Up

-- Who runs, and who may write about which source. A lease whose holder has no
-- row in replicas is free; holder is no foreign key because the row of a dead
-- one goes first and its leases, which it may still have locked, later.
CREATE TABLE replicas (
    id         uuid PRIMARY KEY,
    name       text NOT NULL,
    version    text NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL,
    wanted     int NOT NULL -- number of leases that it would take if it were alone
) WITH (fillfactor = 50);

-- Tokens are never given twice, also not to a source that was forgotten and is
-- configured again: a process frozen since before must not hold a valid one.
CREATE SEQUENCE lease_tokens;

CREATE TABLE leases (
    source text COLLATE "C" PRIMARY KEY, -- '*': the fleet
    token  bigint NOT NULL DEFAULT nextval('lease_tokens'),
    holder uuid, -- NULL: free
    since  timestamptz NOT NULL DEFAULT clock_timestamp() -- of the last change of hands
) WITH (fillfactor = 50);

CREATE TABLE sources (
    name         text COLLATE "C" PRIMARY KEY,
    last_pass_at timestamptz,
    took         bigint NOT NULL DEFAULT 0, -- microseconds
    err          text NOT NULL DEFAULT '',
    tried_at     timestamptz,
    resolver     text NOT NULL DEFAULT '',
    known        int NOT NULL DEFAULT 0,
    flipped      int NOT NULL DEFAULT 0,
    missing      int NOT NULL DEFAULT 0,
    counts       json NOT NULL DEFAULT '{}',
    surge        text NOT NULL DEFAULT '',
    surge_since  timestamptz,
    surge_told   timestamptz,
    accepted     timestamptz
) WITH (fillfactor = 50);

-- The fill factor leaves room for the new version of a row in its page, so that
-- no index is touched by a change. The document stays in the row, compressed
-- where it is long: kept apart, each change would dirty two more pages.
CREATE TABLE states (
    source       text COLLATE "C" NOT NULL,
    id           uuid NOT NULL,
    name         text NOT NULL,
    status       text NOT NULL,
    verdict      text NOT NULL,
    kinds        text[] NOT NULL,
    desired_mode text NOT NULL,
    overrides    text[] NOT NULL,
    observed     boolean NOT NULL,
    observed_at  timestamptz,
    digest       bytea NOT NULL,
    document     json NOT NULL,
    PRIMARY KEY (source, id)
) WITH (fillfactor = 70);
ALTER TABLE states ALTER COLUMN document SET STORAGE MAIN;
-- The other method costs a third of the time of a write. Not every server is
-- built with this one.
-- +goose StatementBegin
DO $$ BEGIN
    ALTER TABLE states ALTER COLUMN document SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END $$;
-- +goose StatementEnd
CREATE INDEX states_id ON states (id);
CREATE INDEX states_name ON states (lower(name) text_pattern_ops);
CREATE INDEX states_drifted ON states (source, id) WHERE verdict = 'drifted';

CREATE TABLE drifts (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source         text COLLATE "C" NOT NULL,
    workspace      uuid NOT NULL,
    name           text NOT NULL,
    opened_at      timestamptz NOT NULL,
    first_evidence timestamptz NOT NULL,
    last_seen_at   timestamptz, -- NULL: seen by the last pass over its source
    clear_since    timestamptz,
    closed_at      timestamptz,
    result         text NOT NULL,
    severity       text NOT NULL,
    kinds          text[] NOT NULL, -- of the findings
    severities     text[] NOT NULL, -- of the findings, in the same order
    findings       json NOT NULL,
    causes         json NOT NULL,
    announced_at   timestamptz,
    announced      text NOT NULL,
    reminded_at    timestamptz,
    reminders      int NOT NULL,
    opened         json, -- the workspace's document at the opening
    latest         json, -- and at the last change of the findings
    CHECK ((closed_at IS NULL) = (result = ''))
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX drifts_one_open ON drifts (source, workspace) WHERE closed_at IS NULL;
CREATE INDEX drifts_workspace ON drifts (source, workspace, id);
CREATE INDEX drifts_closed ON drifts (closed_at) WHERE closed_at IS NOT NULL;

CREATE TABLE events (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- in the order of the commits
    at        timestamptz NOT NULL,
    kind      text NOT NULL,
    severity  text NOT NULL,
    source    text COLLATE "C" NOT NULL,
    workspace uuid,
    name      text NOT NULL,
    episode   bigint,
    summary   text NOT NULL,
    by        text NOT NULL
);
CREATE INDEX events_episode ON events (episode) WHERE episode IS NOT NULL;
CREATE INDEX events_workspace ON events (workspace, id) WHERE workspace IS NOT NULL;
CREATE INDEX events_at ON events (at) WHERE episode IS NULL;

-- Retention says that it is one, for its transaction alone.
-- +goose StatementBegin
CREATE FUNCTION events_are_appended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('reconciler.retention', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'events are only appended: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
-- +goose StatementEnd
CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE ON events FOR EACH ROW EXECUTE FUNCTION events_are_appended();
CREATE TRIGGER events_no_truncate BEFORE TRUNCATE ON events FOR EACH STATEMENT EXECUTE FUNCTION events_are_appended();

-- Who held which address when. Two that hold one at the same time cannot both
-- be its only holder.
CREATE TABLE holdings (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source    text COLLATE "C" NOT NULL,
    workspace uuid NOT NULL,
    address   inet NOT NULL,
    during    tstzrange NOT NULL CHECK (NOT isempty(during) AND NOT lower_inf(during)),
    confirmed timestamptz, -- of one that has ended: when it was last seen to hold
    exclusive boolean NOT NULL,
    taken     boolean NOT NULL DEFAULT false, -- ended because another was seen with the address, and its source does not know yet
    CONSTRAINT holdings_one_holder EXCLUDE USING gist (address inet_ops WITH =, during WITH &&) WHERE (exclusive)
);
CREATE UNIQUE INDEX holdings_open ON holdings (source, workspace, address) WHERE upper_inf(during);
CREATE INDEX holdings_address ON holdings (address);
CREATE INDEX holdings_ended ON holdings (upper(during)) WHERE NOT upper_inf(during);
CREATE INDEX holdings_taken ON holdings (source) WHERE taken;

CREATE TABLE pauses (
    kind       text NOT NULL CHECK (kind IN ('all', 'source', 'workspace')),
    source     text COLLATE "C" NOT NULL,
    workspace  text COLLATE "C" NOT NULL,
    observing  boolean NOT NULL,
    reason     text NOT NULL,
    by         text NOT NULL,
    at         timestamptz NOT NULL,
    expires_at timestamptz,
    PRIMARY KEY (kind, source, workspace)
);

CREATE TABLE suppressions (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source     text COLLATE "C" NOT NULL,
    workspace  uuid, -- NULL: every workspace of the source
    kind       text NOT NULL, -- '': every kind
    reason     text NOT NULL,
    by         text NOT NULL,
    at         timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX suppressions_source ON suppressions (source);

CREATE TABLE looks (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source    text COLLATE "C" NOT NULL,
    workspace uuid NOT NULL,
    reason    text NOT NULL,
    by        text NOT NULL,
    at        timestamptz NOT NULL,
    UNIQUE (source, workspace)
);

-- Answers to changes that were asked for with an idempotency key.
CREATE TABLE answers (
    principal text NOT NULL,
    key       text NOT NULL,
    digest    bytea NOT NULL, -- of the request
    answer    json,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (principal, key)
);
CREATE INDEX answers_at ON answers (at);
