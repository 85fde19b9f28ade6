// Where a flow publishes to: the foreign server and user mapping it names, or the setting pgbraid.nats_url.
#pragma once
#include "catalog/flows.h"
#include "nats/connection.h"
#include "pg/boundary.h"

#include <string>

namespace pgbraid::flow {

// `server` empty: pgbraid.nats_url. `user` is whose user mapping counts (PUBLIC's otherwise). In an open transaction.
// Throws 42704 with a hint for a server that does not exist.
nats::ConnectionOptions connection_options(const std::string &server, Oid user);

// The same for a flow, with a name that the NATS server shows.
nats::ConnectionOptions named_connection(const catalog::Flow &flow, const std::string &database);

// What the columns of a flow are hashed with; empty where none is. Throws HV00D if it is missing.
std::string mask_key_of(const catalog::Flow &flow);

// The option mask_key of the same user mapping, which the masks of flows are made with; empty if it has none.
std::string mask_key(const std::string &server, Oid user);

} // namespace pgbraid::flow
