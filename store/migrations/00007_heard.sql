-- +goose Up

-- The cause that a judgement is about, as its ramp is called, and whether the
-- platform calls the workspace one of those that go first: the canary of a cause
-- is looked for among all sources.
ALTER TABLE judgements
    ADD COLUMN cause  text NOT NULL DEFAULT '',
    ADD COLUMN canary boolean NOT NULL DEFAULT false;
CREATE INDEX judgements_canary ON judgements (cause) WHERE canary;

-- When an input that had gone blind was found to see again.
ALTER TABLE inputs ADD COLUMN resumed_at timestamptz;

-- Who reads an input and is behind with it: what came since is not counted yet.
CREATE TABLE input_lags (
    input        text COLLATE "C" NOT NULL,
    host         text COLLATE "C" NOT NULL,
    replica      uuid NOT NULL,
    behind_since timestamptz NOT NULL,
    seen_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (input, host, replica)
);
