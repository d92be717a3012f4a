-- +goose Up

-- Calls that were read from the proxy's logs, five minutes together; older ones
-- an hour or a day. The key begins with the time, so that what is written lately
-- lies together, whoever calls.
CREATE TABLE traffic (
    bucket        timestamptz NOT NULL, -- the beginning
    address       inet NOT NULL,        -- '::': none that could be read
    source        text COLLATE "C" NOT NULL, -- '': nobody's
    workspace     uuid NOT NULL,        -- the nil uuid: nobody's. With no source: one that a line names, which nobody knows or several tenants have
    attribution   smallint NOT NULL,    -- 0 nobody's, 1 one of several, 2 by address, 3 named by the line
    operation     smallint NOT NULL,    -- 1 messages, 2 batches, 3 chat_completions, 4 responses
    class         smallint NOT NULL,    -- status / 100; 0: none was sent
    billed        bigint NOT NULL,
    rejected      bigint NOT NULL,
    input_tokens  bigint NOT NULL, -- of billed calls, as far as lines tell
    output_tokens bigint NOT NULL,
    untold        bigint NOT NULL, -- billed calls whose tokens no line tells
    cost_usd      double precision NOT NULL, -- of billed calls, as far as it is known
    unpriced      bigint NOT NULL, -- billed calls whose cost is not known
    first_at      timestamptz NOT NULL,
    last_at       timestamptz NOT NULL,
    last_billed   timestamptz,
    PRIMARY KEY (bucket, address, source, workspace, attribution, operation, class)
) WITH (fillfactor = 80);
CREATE INDEX traffic_workspace ON traffic (source, workspace, bucket) WHERE source <> '';
CREATE INDEX traffic_ambiguous ON traffic (address, bucket) WHERE attribution = 1;
CREATE INDEX traffic_named ON traffic (workspace, bucket) WHERE attribution = 0 AND workspace <> '00000000-0000-0000-0000-000000000000';

-- Addresses whose holders are known otherwise than when their calls were
-- counted, from a time on.
CREATE TABLE reattributions (
    address inet PRIMARY KEY,
    since   timestamptz NOT NULL
);

-- How far an input was read. It moves in the transaction that counts.
CREATE TABLE positions (
    input    text COLLATE "C" NOT NULL,
    key      text COLLATE "C" NOT NULL,
    "offset" bigint NOT NULL,
    detail   json,
    moved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (input, key)
) WITH (fillfactor = 50);

-- Batches of inputs without a position, so that one that is sent again is known.
CREATE TABLE batches (
    input text COLLATE "C" NOT NULL,
    id    text COLLATE "C" NOT NULL,
    at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (input, id)
);
CREATE INDEX batches_at ON batches (at);

-- Where lines come from: an input on one host, or of all replicas ('').
CREATE TABLE inputs (
    input        text COLLATE "C" NOT NULL,
    host         text COLLATE "C" NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at      timestamptz NOT NULL DEFAULT clock_timestamp(), -- its reader's last sign of life
    line_at      timestamptz, -- when the last line came
    newest_at    timestamptz, -- the latest time that a line tells
    lines        bigint NOT NULL DEFAULT 0,
    unread       bigint NOT NULL DEFAULT 0, -- of those, not understood
    silent_after interval NOT NULL DEFAULT '0', -- 0: it may be silent
    err          text NOT NULL DEFAULT '',
    err_since    timestamptz,
    blind_since  timestamptz, -- as was last told; NULL: it sees
    PRIMARY KEY (input, host)
) WITH (fillfactor = 50);

-- What is wrong with the whole fleet, and was told.
CREATE TABLE alarms (
    kind    text NOT NULL,
    subject text COLLATE "C" NOT NULL,
    since   timestamptz NOT NULL,
    told_at timestamptz NOT NULL,
    words   text NOT NULL,
    PRIMARY KEY (kind, subject)
);

-- A look that a billed call asks for.
ALTER TABLE looks ADD COLUMN hit_at timestamptz;
