// Snapshots, branches and spares: copies of the database that this process is connected to.
#include "branch/copy.h"
#include "branch/family.h"
#include "branch/verbs.h"

extern "C" {
#include "miscadmin.h"
}

namespace pgbraid::branch {

namespace {

const Member &source_of(const Family &family)
{
	const Member *source = family.find(MyDatabaseId);
	if (source == nullptr)
		throw pg::Failure({.sqlstate = "42704", .message = "the database to copy is none of the family any more"});
	return *source;
}

std::string label_of(const Family &family, Kind kind, const std::string &name, const Member &source)
{
	Patch label;
	label.text("family", family.name)
		.kind("kind", kind)
		.text("name", name)
		.text("parent", source.name)
		.kind("parent_kind", source.kind)
		.now("created");
	const Request &request = current().request;
	if (kind == Kind::spare)
		label.number("parent_oid", source.oid);
	if (kind == Kind::snapshot && request.spares > 0)
		label.number("spares", request.spares);
	if (request.description[0] != '\0')
		label.text("description", request.description);
	return label.json();
}

Oid make(const Request &request, Kind kind, const std::string &name, const char *operation)
{
	std::string from;
	Oid copy = begin_copy([&]() -> Intent {
		Family family = lock_family(request);
		const Member &source = source_of(family);
		refuse_unfinished(source);
		refuse_stranger(request, source);
		if (kind != Kind::spare)
			refuse_duplicate(family, kind, name);
		refuse_replication(request, source, catalog::Slots::of_others, "not be part of the copy");
		from = source.name;
		return {.database = resting_name(family, kind, name), .label = label_of(family, kind, name, source)};
	});
	complete_copy(copy, kind != Kind::branch, [&](bool is_cloned) {
		if (operation[0] != '\0')
			log(request, copy, operation, "from " + from + (is_cloned ? ", cloned" : ""));
	});
	return copy;
}

} // namespace

Outcome take_snapshot(const Request &request)
{
	return {.database = make(request, Kind::snapshot, request.name, "snapshot")};
}

Outcome create(const Request &request)
{
	Oid made = make(request, Kind::branch, request.name, "create");
	return request.switches ? checkout(request) : Outcome{.database = made};
}

// This process is connected to the snapshot.
Outcome make_spare(const Request &request)
{
	return {.database = make(request, Kind::spare, request.name, "")};
}

} // namespace pgbraid::branch
