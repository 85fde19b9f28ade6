// What a flow publishes besides rows, and how: options of pgbraid.flows. And the table pgbraid.flow_schemas. Every
// function needs an open transaction. Texts are in the encoding of the database.
#pragma once
#include "core/flow/schema.h"
#include "pg/boundary.h"

#include <string>
#include <vector>

namespace pgbraid::catalog {

struct Announcements {
	bool all_messages = false;
	std::vector<std::string> prefixes; // of the messages to publish, if not all
	std::string message_subject;
	bool transactions = false;
	std::string transaction_subject;
	std::string schema_events; // changes, all, none
	std::string oversize;	   // split, dead_letter, stop
};
Announcements read_announcements(int64 flow);

// Of the flow's present generation; those of earlier ones go with the next save.
core::SchemaHistory read_schemas(int64 flow, int64 generation);
void forget_schemas(int64 flow, int64 generation, core::Position after);
void save_schemas(int64 flow, int64 generation, const std::vector<core::SchemaHistory::Change> &changes);

struct DeadLetter {
	std::string_view subject, message_id, op, headers, payload;
	core::Position position;
};
// Those of one history (the beginning of their ids) beyond a position, unless somebody has had them published.
void forget_dead_letters(int64 flow, const std::string &ids, core::Position after);

// Does nothing if the table has it already.
void save_dead_letter(int64 flow, const DeadLetter &letter, int64 max_payload);

} // namespace pgbraid::catalog
