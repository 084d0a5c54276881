-- The users of a Jobmon server on PostgreSQL: what each role needs, and no more. The database is named jobmon here.
-- Run in that database (psql -d jobmon) by its owner, after `jobmon-server db init`; replace the passwords.

-- Role query (the JobQueryServer): db.query_sqlalchemy_database_uri
CREATE ROLE jobmon_query LOGIN PASSWORD 'change-me';
GRANT CONNECT ON DATABASE jobmon TO jobmon_query;
GRANT USAGE ON SCHEMA public TO jobmon_query;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO jobmon_query;

-- Roles state and all (the JobStateManager): db.sqlalchemy_database_uri
CREATE ROLE jobmon_state LOGIN PASSWORD 'change-me';
GRANT CONNECT ON DATABASE jobmon TO jobmon_state;
GRANT USAGE ON SCHEMA public TO jobmon_state;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO jobmon_state;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO jobmon_state;
-- The only rows a server deletes: a node that was forgiven, and alarms of long ago.
GRANT DELETE ON bad_node, alarm, prune_candidate TO jobmon_state;

-- An upgrade may bring new tables: they are for these users too.
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO jobmon_query;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE ON TABLES TO jobmon_state;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO jobmon_state;

-- `jobmon-server db …` (init, upgrade, prune, restore) changes tables and deletes old workflows: use the owner for that.
