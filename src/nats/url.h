// One server of pgbraid.nats_url.
#pragma once
#include "nats/connection.h"

namespace pgbraid::nats {

struct Endpoint {
	bool tls = false;
	std::string host;	 // without the brackets of an IPv6 address
	std::string address; // "nats://host:port", nothing secret in it
	std::string user, password, token;
};

Result<Endpoint> parse_endpoint(std::string_view url);

} // namespace pgbraid::nats
