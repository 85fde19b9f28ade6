#include "servers/options.h"

#include "pg/spi.h"
#include "settings/settings.h"

extern "C" {
#include "access/reloptions.h"
#include "catalog/pg_foreign_server_d.h"
#include "catalog/pg_user_mapping_d.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "utils/builtins.h"
}

namespace pgbraid::servers {

namespace {

using nats::ConnectionOptions;

struct Option {
	const char *name;
	std::string ConnectionOptions::*member;
	bool is_file;
};

// Of a user mapping. The server itself has `url`, and tls_ca as well, which is no secret.
constexpr Option options[] = {
	{"user", &ConnectionOptions::user, false},
	{"password", &ConnectionOptions::password, false},
	{"token", &ConnectionOptions::token, false},
	{"creds_file", &ConnectionOptions::creds_file, true},
	{"nkey_seed_file", &ConnectionOptions::nkey_seed_file, true},
	{"tls_ca", &ConnectionOptions::tls_ca, true},
	{"tls_cert", &ConnectionOptions::tls_cert, true},
	{"tls_key", &ConnectionOptions::tls_key, true},
	{"mask_key", nullptr, false}, // nothing to do with the connection
};

void set(ConnectionOptions &connection, std::string_view name, const std::string &value)
{
	if (name == "url")
		connection.urls = pg::take(nats::parse_urls(value));
	for (const Option &option : options)
		if (name == option.name && option.member != nullptr)
			connection.*option.member = value;
}

constexpr char select_options[] =
	"SELECT (pg_options_to_table(srvoptions)).* FROM pg_foreign_server WHERE srvname = $1 "
	"UNION ALL "
	"SELECT (pg_options_to_table(umoptions)).* FROM (SELECT umoptions FROM pg_user_mappings "
	" WHERE srvname = $1 AND umuser IN ($2, 0) ORDER BY umuser = 0 LIMIT 1) mapping";

[[noreturn]] void refuse(const std::string &message, const std::string &hint, const char *sqlstate = "HV00D")
{
	throw pg::Failure({.sqlstate = sqlstate, .message = message, .detail = {}, .hint = hint});
}

std::string identifier(const std::string &name)
{
	return pg::call([&] { return quote_identifier(name.c_str()); });
}

void check_mapping_option(const std::string &name, const std::string &value)
{
	for (const Option &option : options) {
		if (name != option.name)
			continue;
		if (option.is_file && !value.starts_with('/'))
			refuse("option \"" + name + "\" needs an absolute path", "Name a file on the database server.", "HV024");
		if (value.empty())
			refuse("option \"" + name + "\" is empty", "Leave it out instead.", "HV024");
		return;
	}
	refuse(
		"invalid option \"" + name + "\"",
		"Options of a user mapping are user, password, token, creds_file, nkey_seed_file, tls_ca, tls_cert, tls_key, "
		"mask_key.");
}

void check_option(Oid catalog, const std::string &name, const std::string &value)
{
	if (catalog == UserMappingRelationId)
		check_mapping_option(name, value);
	else if (catalog == ForeignServerRelationId && name == "url")
		(void) pg::take(nats::parse_urls(value));
	else if (catalog == ForeignServerRelationId && name == "tls_ca")
		check_mapping_option(name, value);
	else if (catalog == ForeignServerRelationId)
		refuse("invalid option \"" + name + "\"",
			   "Options of a server are url and tls_ca; user, password and keys belong to CREATE USER MAPPING.");
	else
		refuse("invalid option \"" + name + "\"", "The foreign data wrapper pgbraid_nats itself has no options.");
}

} // namespace

ConnectionOptions connection_options(const std::string &server, Oid user)
{
	ConnectionOptions connection;
	connection.name = "pgbraid";
	if (server.empty()) {
		connection.urls = pg::take(nats::parse_urls(settings::nats_url()));
		return connection;
	}
	bool exists = pg::spi::execute("SELECT FROM pg_foreign_server WHERE srvname = $1", {pg::spi::text(server)}) > 0;
	if (!exists)
		refuse("server \"" + server + "\" does not exist",
			   "CREATE SERVER " + identifier(server) +
				   " FOREIGN DATA WRAPPER pgbraid_nats OPTIONS (url 'nats://host:4222');",
			   "42704");
	pg::spi::each(select_options, {pg::spi::text(server), pg::spi::oid(user)},
				  [&](const pg::spi::Row &row) { set(connection, row.text(1), row.text(2)); });
	if (connection.urls.empty())
		refuse("server \"" + server + "\" has no option url",
			   "ALTER SERVER " + identifier(server) + " OPTIONS (ADD url 'nats://host:4222');", "HV00J");
	return connection;
}

std::string mask_key(const std::string &server, Oid user)
{
	std::string key;
	pg::spi::each(select_options, {pg::spi::text(server), pg::spi::oid(user)}, [&](const pg::spi::Row &row) {
		if (row.text(1) == "mask_key")
			key = row.text(2);
	});
	return key;
}

} // namespace pgbraid::servers

PGBRAID_FUNCTION(pgbraid_fdw_validator)
{
	using namespace pgbraid;
	Oid catalog = PG_GETARG_OID(1);
	List *given = pg::call([&] { return untransformRelOptions(PG_GETARG_DATUM(0)); });
	for (int i = 0; i < list_length(given); i++) {
		auto *element = static_cast<DefElem *>(list_nth(given, i));
		servers::check_option(catalog, element->defname, pg::call([&] { return defGetString(element); }));
	}
	PG_RETURN_VOID();
}
