#include "flow/source/definition.h"

#include "core/flow/json.h"
#include "flow/source/announcer.h"
#include "flow/source/server.h"
#include "flow/source/subjects.h"
#include "pg/encoding.h"
#include "pg/transaction.h"
#include "settings/settings.h"

extern "C" {
#include "access/xact.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/syscache.h"
}

#include <algorithm>

namespace pgbraid::flow {

namespace {

bool server_changed = false;

void watch_servers()
{
	static bool watched = false;
	if (std::exchange(watched, true))
		return;
	for (auto cache : {FOREIGNSERVEROID, FOREIGNSERVERNAME, USERMAPPINGOID, USERMAPPINGUSERSERVER})
		CacheRegisterSyscacheCallback(
			cache, [](Datum, int, uint32) { server_changed = true; }, 0);
}

core::SubjectTemplate subject_template(const catalog::Flow &flow)
{
	return pg::take(core::SubjectTemplate::parse(flow.subject));
}

} // namespace

Definition::Definition(catalog::Flow defined) : flow(std::move(defined))
{
	pg::call([] { watch_servers(); });
	server_changed = false;
	pg::in_transaction("looking up what the flow is to do", [this] {
		name = pg::to_utf8(flow.name);
		database = pg::to_utf8(pg::call([] { return get_database_name(MyDatabaseId); }));
		announcements = catalog::read_announcements(flow.id);
		connection = named_connection(flow, database);
		mask_key = mask_key_of(flow);
	});
	if (!mask_key.empty())
		hmac.emplace(mask_key);
}

SchemaEvents Definition::schema_events() const
{
	const std::string &option = announcements.schema_events;
	return option == "all" ? SchemaEvents::all : option == "none" ? SchemaEvents::none : SchemaEvents::changes;
}

core::OversizeMode Definition::oversize_mode() const
{
	const std::string &option = announcements.oversize;
	return option == "stop"			 ? core::OversizeMode::stop
		   : option == "dead_letter" ? core::OversizeMode::dead_letter
									 : core::OversizeMode::split;
}

nats::PublisherOptions Definition::publisher_options(const core::History &history) const
{
	nats::PublisherOptions options;
	options.connection = connection;
	options.stream = {.name = flow.stream,
					  .description = connection.name,
					  .subjects = subjects_of(flow.publication, subject_template(flow), database),
					  .replicas = (int) flow.replicas,
					  .atomic = flow.atomic};
	options.memory = settings::flow_memory();
	options.atomic_bytes = std::min(options.atomic_bytes, options.memory);
	options.history = history;
	Announcer announcer(announcements, database, history);
	for (std::string &subject : announcer.subjects())
		options.stream.subjects.push_back(std::move(subject));
	options.message_id = flow.message_id;
	return options;
}

EncoderOptions Definition::encoder_options(const core::History &history) const
{
	return {.format = format_named(flow.format),
			.subject = subject_template(flow),
			.database = database,
			.flow = name,
			.history = history,
			.rows_per_message = (std::size_t) flow.rows_per_message};
}

PlanOptions Definition::plan_options() const
{
	return {.publication = flow.publication.c_str(),
			.own_publication = flow.owns_publication,
			.sort_columns = flow.format == "rows",
			.rules = &flow.columns,
			.filters = &flow.filters,
			.hmac = hmac ? &*hmac : nullptr};
}

bool Definition::server_differs(bool is_healthy) const
{
	if (!server_changed || flow.server.empty())
		return false;
	if (IsTransactionState())
		return !is_healthy;
	server_changed = false;
	return pg::in_transaction("looking up the NATS server", [&] {
		return connection != named_connection(flow, database) || mask_key != mask_key_of(flow);
	});
}

} // namespace pgbraid::flow
