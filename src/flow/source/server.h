// Where a flow publishes to: the foreign server and user mapping it names, or the setting pgbraid.nats_url.
#pragma once
#include "catalog/flows.h"
#include "nats/connection.h"
#include "pg/boundary.h"

#include <string>

namespace pgbraid::flow {

// With a name that the NATS server shows. In an open transaction; throws as servers::connection_options does.
nats::ConnectionOptions named_connection(const catalog::Flow &flow, const std::string &database);

// What the columns of a flow are hashed with; empty where none is. Throws HV00D if it is missing.
std::string mask_key_of(const catalog::Flow &flow);

} // namespace pgbraid::flow
