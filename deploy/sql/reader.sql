-- The role with which the reconciler reads a tenant's database. Run it in that
-- database as its owner or a superuser, once a tenant:
--
--   psql "$TENANT_DATABASE_URL" -v role=billing_reader -v password="$READER_PASSWORD" -f reader.sql
--
-- Run it again after an upgrade of the platform (new columns are granted) and
-- to change the password. Variables: role (default billing_reader), password
-- (required), schema (default public: where the platform's tables are).
--
-- The role may log in and read the columns named below, nothing else. It sees
-- secrets as they are stored: encrypted ones stay so without the platform's
-- key. Its connections are read-only and give up on slow statements even if
-- somebody else uses it. Nothing here changes the platform's own rows or roles.
\set ON_ERROR_STOP on
\if :{?role}
\else
  \set role billing_reader
\endif
\if :{?schema}
\else
  \set schema public
\endif
\if :{?password}
\else
  \warn 'reader.sql: give a password: psql -v password=...'
  SELECT 1/0 AS "a password is required";
\endif

BEGIN;

SELECT format('CREATE ROLE %I', :'role')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec

ALTER ROLE :"role" WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'password';
ALTER ROLE :"role" SET default_transaction_read_only = on;
ALTER ROLE :"role" SET statement_timeout = '2min';
ALTER ROLE :"role" SET idle_in_transaction_session_timeout = '5min';

SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), :'role') \gexec
GRANT USAGE ON SCHEMA :"schema" TO :"role";

-- Only these columns; those that this version of the platform has not are left
-- out, which is why the script is run again after an upgrade.
SELECT format('GRANT SELECT (%s) ON %I.%I TO %I',
              string_agg(quote_ident(attname), ', ' ORDER BY attnum), :'schema', wanted.relation, :'role')
FROM (VALUES
    ('workspaces', '{id,name,status,runtime,instance_id,active_tasks,last_sample_error,llm_billing_mode,update_tier,kind,compute}'::text[]),
    ('workspace_secrets', '{workspace_id,key,encrypted_value,encryption_version,created_at,updated_at}'),
    ('global_secrets', '{key,encrypted_value,encryption_version,created_at,updated_at}')
) AS wanted(relation, names)
JOIN pg_attribute ON attrelid = to_regclass(format('%I.%I', :'schema', wanted.relation))
    AND attname = ANY (wanted.names) AND NOT attisdropped
GROUP BY wanted.relation \gexec

COMMIT;
