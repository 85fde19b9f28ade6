// From our options of a connection to those of libnats, and from its failures to our errors.
#pragma once
#include "nats/connection.h"
#include "nats/url.h"

#include <memory>
#include <nats/nats.h>

namespace pgbraid::nats {

using Options = std::unique_ptr<natsOptions, decltype(&natsOptions_Destroy)>;

// Can all the files be read? 58P01 if not.
Status check_files(const ConnectionOptions &options);

bool demands_tls(const ConnectionOptions &options, const Endpoint &endpoint);

Result<Options> make_options(const ConnectionOptions &options, const Endpoint &endpoint, Link &link);

Error connect_error(natsStatus status, const ConnectionOptions &options, const Endpoint &endpoint);

// libnats' words for the failure of its latest call on this thread.
std::string status_text(natsStatus status);

} // namespace pgbraid::nats
