DROP TRIGGER nodes_came_or_went ON durable.nodes;
DROP TRIGGER nodes_changed ON durable.nodes;
DROP FUNCTION durable.tell_nodes();
DROP TABLE durable.dashboard_audit;
