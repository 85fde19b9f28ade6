#include "nats/dial.h"

#include "nats/error.h"
#include "nats/json.h"
#include "nats/link.h"
#include "nats/nkey.h"

#include <fstream>

namespace pgbraid::nats {
namespace {

constexpr const char *where_hint =
	"Check that the server runs, and pgbraid.nats_url or the option \"url\" of the foreign server.";

// The CONNECT message of libnats quotes nothing.
std::string escaped(std::string_view text)
{
	std::string quoted;
	append_json(quoted, text);
	return quoted.substr(1, quoted.size() - 2);
}

Error option_error(natsStatus status, const std::string &file)
{
	if (status == NATS_NO_MEMORY)
		return {sqlstate::out_of_memory, "out of memory"};
	return {sqlstate::invalid_parameter,
			"invalid option for a connection to NATS: " + status_text(status),
			{},
			file.empty() ? "" : "Check file \"" + file + "\"."};
}

// What the connection proves who it is with. What the URL carries comes first.
Result<natsStatus> set_identity(natsOptions *to, const ConnectionOptions &options, const Endpoint &endpoint)
{
	bool in_url = !endpoint.user.empty() || !endpoint.token.empty();
	auto &user = in_url ? endpoint.user : options.user;
	auto &password = in_url ? endpoint.password : options.password;
	auto &token = in_url ? endpoint.token : options.token;
	if (!user.empty())
		return natsOptions_SetUserInfo(to, escaped(user).c_str(), escaped(password).c_str());
	if (!token.empty())
		return natsOptions_SetToken(to, escaped(token).c_str());
	if (!options.creds_file.empty())
		return natsOptions_SetUserCredentialsFromFiles(to, options.creds_file.c_str(), nullptr);
	if (options.nkey_seed_file.empty())
		return NATS_OK;
	auto key = public_key_of_file(options.nkey_seed_file);
	if (!key.ok())
		return key.error();
	return natsOptions_SetNKeyFromSeed(to, key->c_str(), options.nkey_seed_file.c_str());
}

Status set_tls(natsOptions *to, const ConnectionOptions &options, const Endpoint &endpoint)
{
	natsStatus status = demands_tls(options, endpoint) ? natsOptions_SetSecure(to, true) : NATS_OK;
	// Also without TLS on our side: a server that requires it turns it on.
	if (status == NATS_OK)
		status = natsOptions_SetExpectedHostname(to, endpoint.host.c_str());
	if (status == NATS_OK && !options.tls_ca.empty())
		status = natsOptions_LoadCATrustedCertificates(to, options.tls_ca.c_str());
	if (status != NATS_OK)
		return option_error(status, options.tls_ca);
	if (options.tls_cert.empty() != options.tls_key.empty())
		return Error{sqlstate::invalid_parameter,
					 "a TLS client certificate needs its key, and the key its certificate"};
	if (!options.tls_cert.empty())
		status = natsOptions_LoadCertificatesChain(to, options.tls_cert.c_str(), options.tls_key.c_str());
	if (status != NATS_OK)
		return option_error(status, options.tls_cert);
	return core::Nothing{};
}

Error refused(const ConnectionOptions &options, const Endpoint &endpoint, const std::string &reason)
{
	bool password =
		!endpoint.user.empty() || !endpoint.token.empty() || !options.user.empty() || !options.token.empty();
	return {password ? sqlstate::invalid_password : sqlstate::invalid_authorization,
			"NATS server at " + endpoint.address + " refuses the connection: " + reason,
			{},
			"Check the user, token, credentials or key of the connection against the server's configuration."};
}

} // namespace

std::string status_text(natsStatus status)
{
	natsStatus last = NATS_OK;
	const char *text = nats_GetLastError(&last);
	if (last != status || text == nullptr || *text == '\0')
		return natsStatus_GetText(status);
	std::string_view words = text;
	if (auto end = words.find("): "); words.starts_with('(') && end != std::string_view::npos)
		words.remove_prefix(end + 3); // a place in libnats' source
	return std::string(words);
}

Status check_files(const ConnectionOptions &options)
{
	for (auto *path :
		 {&options.creds_file, &options.nkey_seed_file, &options.tls_ca, &options.tls_cert, &options.tls_key}) {
		if (!path->empty() && !std::ifstream(*path).is_open())
			return Error{sqlstate::undefined_file,
						 "could not read file \"" + *path + "\"",
						 {},
						 "The file must be readable for the operating system user that runs PostgreSQL."};
	}
	return core::Nothing{};
}

bool demands_tls(const ConnectionOptions &options, const Endpoint &endpoint)
{
	return endpoint.tls || !options.tls_ca.empty() || !options.tls_cert.empty() || !options.tls_key.empty();
}

Result<Options> make_options(const ConnectionOptions &options, const Endpoint &endpoint, Link &link)
{
	natsOptions *made = nullptr;
	natsStatus status = natsOptions_Create(&made);
	Options to(made, natsOptions_Destroy);
	if (status == NATS_OK)
		status = natsOptions_SetURL(made, ("nats" + endpoint.address.substr(endpoint.address.find(':'))).c_str());
	if (status == NATS_OK && !options.name.empty())
		status = natsOptions_SetName(made, escaped(options.name).c_str());
	if (status == NATS_OK)
		status = natsOptions_SetTimeout(made, options.timeout.count());
	if (status == NATS_OK)
		status = natsOptions_SetAllowReconnect(made, false);
	if (status == NATS_OK)
		status = natsOptions_SetIgnoreDiscoveredServers(made, true);
	// No thread that flushes a moment later, and none that closes the connection behind our back.
	if (status == NATS_OK)
		status = natsOptions_SetSendAsap(made, true);
	if (status == NATS_OK)
		status = natsOptions_SetPingInterval(made, 0);
	if (status == NATS_OK)
		status = link.listen(made);
	if (status != NATS_OK)
		return option_error(status, {});
	if (auto tls = set_tls(made, options, endpoint); !tls.ok())
		return tls.error();
	auto identity = set_identity(made, options, endpoint);
	if (!identity.ok())
		return identity.error();
	if (*identity != NATS_OK)
		return option_error(*identity, options.creds_file);
	return to;
}

Error connect_error(natsStatus status, const ConnectionOptions &options, const Endpoint &endpoint)
{
	std::string reason = status_text(status);
	auto mentions = [&reason](const char *word) { return reason.find(word) != std::string::npos; };
	if (status == NATS_CONNECTION_AUTH_FAILED || mentions("uthorization") || mentions("uthentication"))
		return refused(options, endpoint, reason);
	if (mentions("aximum") && mentions("onnections"))
		return {sqlstate::too_many_connections, "NATS server at " + endpoint.address + " is full: " + reason};
	// Nothing instead of the PONG: an error message before the end can get lost with the connection.
	if (status == NATS_CONNECTION_CLOSED || (status == NATS_PROTOCOL_ERROR && mentions("got ''")))
		return {sqlstate::connection_away,
				"NATS server at " + endpoint.address + " closed the connection at once",
				{},
				"It may be starting, shutting down, or have reached its max_connections."};
	if (status == NATS_PROTOCOL_ERROR)
		return {sqlstate::protocol_violation, "what answers at " + endpoint.address + " is not a NATS server", reason,
				where_hint};
	if (status == NATS_SECURE_CONNECTION_WANTED)
		return {sqlstate::connection_away,
				"NATS server at " + endpoint.address + " does not offer TLS",
				{},
				"Use a nats:// URL and no TLS options, or give the server a tls {} block."};
	if (status == NATS_SSL_ERROR)
		return {sqlstate::connection_away,
				"could not secure the connection to " + endpoint.address + ": " + reason,
				{},
				"Check the TLS options: the CA must have signed the server's certificate, which must name the host; a "
				"server that verifies clients needs a certificate and its key."};
	return {
		sqlstate::connection_away, "could not connect to NATS at " + endpoint.address + ": " + reason, {}, where_hint};
}

} // namespace pgbraid::nats
