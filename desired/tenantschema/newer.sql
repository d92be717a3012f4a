-- What newer versions of the platform have added to schema.sql.
ALTER TABLE workspaces
    ADD COLUMN llm_billing_mode text,
    ADD COLUMN update_tier      text NOT NULL DEFAULT 'production',
    ADD COLUMN kind             text NOT NULL DEFAULT 'workspace',
    ADD COLUMN compute          jsonb;
