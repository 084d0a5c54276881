-- The users of a Jobmon server on MariaDB or MySQL: what each role needs, and no more. The database is named jobmon here.
-- Run as an administrator, after `jobmon-server db init`; replace the passwords, and '%' by the hosts of the servers.

-- Role query (the JobQueryServer): db.query_sqlalchemy_database_uri
CREATE USER 'jobmon_query'@'%' IDENTIFIED BY 'change-me';
GRANT SELECT ON jobmon.* TO 'jobmon_query'@'%';

-- Roles state and all (the JobStateManager): db.sqlalchemy_database_uri
CREATE USER 'jobmon_state'@'%' IDENTIFIED BY 'change-me';
GRANT SELECT, INSERT, UPDATE ON jobmon.* TO 'jobmon_state'@'%';
-- The only rows a server deletes: a node that was forgiven, and alarms of long ago.
GRANT DELETE ON jobmon.bad_node TO 'jobmon_state'@'%';
GRANT DELETE ON jobmon.alarm TO 'jobmon_state'@'%';
GRANT DELETE ON jobmon.prune_candidate TO 'jobmon_state'@'%';

-- `jobmon-server db …` (init, upgrade, prune, restore) changes tables and deletes old workflows: use an owner for that.
