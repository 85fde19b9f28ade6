// Foreign servers of pgbraid_nats: where they are and how to be let in, as their options and those of a user mapping
// say.
#pragma once
#include "nats/connection.h"
#include "pg/boundary.h"

#include <string>

namespace pgbraid::servers {

// `server` empty: pgbraid.nats_url. `user` is whose user mapping counts (PUBLIC's otherwise). In an open transaction.
// Throws 42704 with a hint for a server that does not exist.
nats::ConnectionOptions connection_options(const std::string &server, Oid user);

// The option mask_key of the same user mapping, which the masks of flows are made with; empty if it has none.
std::string mask_key(const std::string &server, Oid user);

} // namespace pgbraid::servers
