-- +goose Up

-- Suppressions that are over, with when they ended: what was kept quiet about
-- belongs to the evidence of a drift. A trigger keeps them, so that no way of
-- ending one forgets to.
CREATE TABLE suppressions_ended (
    id         bigint PRIMARY KEY,
    source     text COLLATE "C" NOT NULL,
    workspace  uuid, -- NULL: every workspace of the source
    kind       text NOT NULL, -- '': every kind
    reason     text NOT NULL,
    by         text NOT NULL,
    at         timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at   timestamptz NOT NULL
);
CREATE INDEX suppressions_ended_source ON suppressions_ended (source);
CREATE INDEX suppressions_ended_at ON suppressions_ended (ended_at);

-- +goose StatementBegin
CREATE FUNCTION suppression_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO suppressions_ended (id, source, workspace, kind, reason, by, at, expires_at, ended_at)
        SELECT s.id, s.source, s.workspace, s.kind, s.reason, s.by, s.at, s.expires_at, least(s.expires_at, clock_timestamp()) FROM (SELECT OLD.*) s;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER suppressions_are_kept AFTER DELETE ON suppressions FOR EACH ROW EXECUTE FUNCTION suppression_ended();
