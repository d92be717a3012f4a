-- +goose Up

-- What is done about workspaces. The row is the truth; the queue carries its
-- number.
CREATE TABLE actions (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source     text COLLATE "C" NOT NULL,
    workspace  uuid NOT NULL,
    name       text NOT NULL,
    episode    bigint, -- the drift's; NULL: it has none, or it is gone
    cause      text NOT NULL,
    inputs     text NOT NULL, -- digest of what the desired side rests on
    lap        int NOT NULL, -- of the cause's ramp
    state      text NOT NULL CHECK (state IN ('requested', 'queued', 'calling', 'proving', 'ended')),
    mode       text NOT NULL CHECK (mode IN ('dry_run', 'enforce')),
    by         text NOT NULL, -- '': nobody but ourselves
    reason     text NOT NULL,
    forced     boolean NOT NULL,
    created_at timestamptz NOT NULL,
    opened_at  timestamptz, -- when its budget was spent
    called_at  timestamptz,
    ended_at   timestamptz,
    next_at    timestamptz, -- when it is next looked at
    calls      int NOT NULL DEFAULT 0,
    attempt    json, -- how the workspace stood before, and what the platform answered
    outcome    text NOT NULL DEFAULT '',
    words      text NOT NULL DEFAULT '',
    before     json, -- the workspace's document when it was decided
    after      json, -- and when it ended
    CHECK ((state = 'ended') = (outcome <> '')),
    CHECK ((state = 'ended') = (ended_at IS NOT NULL))
) WITH (fillfactor = 70);
-- A workspace has at most one action under way, over all replicas.
CREATE UNIQUE INDEX actions_one_in_flight ON actions (source, workspace) WHERE state IN ('queued', 'calling', 'proving');
CREATE UNIQUE INDEX actions_one_request ON actions (source, workspace) WHERE state = 'requested';
CREATE INDEX actions_workspace ON actions (source, workspace, id);
CREATE INDEX actions_opened ON actions (opened_at) WHERE opened_at IS NOT NULL;
CREATE INDEX actions_ended ON actions (ended_at) WHERE ended_at IS NOT NULL;

-- How far the actions of a cause have proven themselves.
CREATE TABLE ramps (
    cause       text PRIMARY KEY,
    wave        int NOT NULL,
    lap         int NOT NULL,
    opened      int NOT NULL,
    proven      int NOT NULL,
    stopped     text NOT NULL,
    ended_at    timestamptz,
    source      text NOT NULL,
    workspace   text NOT NULL,
    inputs      text NOT NULL,
    approved_at timestamptz,
    changed_at  timestamptz NOT NULL
);

-- Workspaces about which a person has said that something may be done.
CREATE TABLE approvals (
    source     text COLLATE "C" NOT NULL,
    workspace  uuid NOT NULL,
    reason     text NOT NULL,
    by         text NOT NULL,
    at         timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (source, workspace)
);

-- What keeps from acting about each workspace that has drifted, as was last
-- judged.
CREATE TABLE judgements (
    source    text COLLATE "C" NOT NULL,
    workspace uuid NOT NULL,
    rule      text NOT NULL,
    words     text NOT NULL,
    next_at   timestamptz,
    since     timestamptz NOT NULL, -- that the rule holds
    PRIMARY KEY (source, workspace)
) WITH (fillfactor = 70);
