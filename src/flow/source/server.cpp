#include "flow/source/server.h"

#include "core/flow/json.h"
#include "pg/encoding.h"
#include "servers/options.h"

#include <algorithm>

namespace pgbraid::flow {

nats::ConnectionOptions named_connection(const catalog::Flow &flow, const std::string &database)
{
	nats::ConnectionOptions connection = servers::connection_options(flow.server, flow.owner);
	core::Bytes name;
	name.append("pgbraid flow " + pg::to_utf8(flow.name) + " of database " + database);
	core::repair_utf8(name, 0);
	connection.name = name.view();
	return connection;
}

std::string mask_key_of(const catalog::Flow &flow)
{
	bool is_needed = std::any_of(flow.columns.begin(), flow.columns.end(),
								 [](const catalog::ColumnRule &rule) { return rule.mask == "hash"; });
	if (!is_needed)
		return {};
	std::string key = servers::mask_key(flow.server, flow.owner);
	if (key.empty())
		throw pg::Failure({.sqlstate = "HV00D",
						   .message = "a column is masked by hash, but there is no mask_key",
						   .hint = "ALTER USER MAPPING ... SERVER ... OPTIONS (ADD mask_key '...');"});
	return key;
}

} // namespace pgbraid::flow
