-- +goose Up

-- Which database this is, to whoever is told by it: numbers of events begin anew
-- in another one.
CREATE TABLE identity (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    id  uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO identity DEFAULT VALUES;

-- How far each sink was told the events, and how telling it goes. Whoever tells
-- it claims the row for a while: the token is of the claim, and what it does not
-- fit is not written.
CREATE TABLE sinks (
    name          text COLLATE "C" PRIMARY KEY,
    kind          text NOT NULL,
    cursor        bigint NOT NULL, -- number of the last event up to which all is done with
    told          bigint[] NOT NULL DEFAULT '{}', -- numbers beyond it that are done with already
    token         bigint NOT NULL DEFAULT nextval('lease_tokens'),
    holder        text NOT NULL DEFAULT '', -- '': nobody is telling it
    held_until    timestamptz NOT NULL DEFAULT clock_timestamp(),
    noticed_at    timestamptz, -- when it was first seen that there is something to tell; NULL: not yet
    next_at       timestamptz NOT NULL DEFAULT clock_timestamp(), -- not before
    tries         int NOT NULL DEFAULT 0, -- failures in a row
    refusals      int NOT NULL DEFAULT 0, -- of them, refusals of the message itself
    err           text NOT NULL DEFAULT '', -- of the last failure
    failing_since timestamptz,
    delivered_at  timestamptz,
    kept_at       timestamptz, -- when it was last told all that stands
    dropped       bigint NOT NULL DEFAULT 0, -- events that it refused for good
    seen_at       timestamptz NOT NULL DEFAULT clock_timestamp() -- when it was last configured somewhere
) WITH (fillfactor = 50);
