// The tables pgbraid.flows (what shall run) and pgbraid.flow_progress (how far a slot of ours has come). Alone knows
// their columns. Every function needs an open transaction.
#pragma once
#include "core/flow/settling.h"
#include "pg/boundary.h"

#include <optional>
#include <string>
#include <vector>

namespace pgbraid::catalog {

// What the option "columns" says of one column; names and values in the encoding of the database.
struct ColumnRule {
	std::string table; // schema.table, quoted where needed, as regclass prints it
	std::string column;
	std::string mask; // "hash", "partial" (all but the last `keep` characters), "fixed" (`value`), or none
	int64 keep;
	std::string value;
	std::string rename; // empty: as it is
	bool drop;
	bool if_exists; // there may be no such column
};

// What the option "filter" says of one table.
struct TableFilter {
	std::string table;
	std::string condition; // a boolean SQL expression
};

struct Flow {
	int64 id;
	std::string name;
	std::string publication;
	bool owns_publication; // pgflow_create made it
	std::string server;	   // empty: the setting pgbraid.nats_url
	std::string stream;	   // in UTF-8
	std::string subject;   // template, in UTF-8
	std::string format;
	std::string snapshot; // initial, none
	bool message_id;	  // options
	int64 replicas;
	bool atomic;
	int64 rows_per_message;
	std::vector<ColumnRule> columns; // read by read_flow() only
	std::vector<TableFilter> filters;
	int64 wal_limit; // bytes; 0: none
	std::string wal_policy;
	Oid owner;
	bool paused;
	bool at_home;		 // false in a copy of the database that the flow was made in
	int64 revision;		 // grows with each change of the definition
	bool failover;		 // option: standbys may keep a copy of the slot
	bool follows_family; // option: it runs only while its database is checked out
	bool rests;			 // that is not so now
	bool is_of_family;	 // of this database is the one that it was made in

	bool shall_run() const { return !paused && at_home && !rests; }
	bool shall_begin_anew() const { return !paused && !at_home && follows_family && is_of_family && !rests; }
};

// The name of the slot of a flow in this database; unique in the cluster.
std::string slot_name(int64 flow);

// nullopt: the extension is not installed in this database.
std::optional<std::vector<Flow>> read_flows();
std::optional<Flow> read_flow(int64 id);

struct Progress {
	int64 generation = 0;		  // of the slot; grows each time one is made anew
	bool streaming = false;		  // the slot exists
	std::string stream;			  // servers and stream that the sequences speak of
	uint64 first_sequence = 0;	  // where it ended before the flow wrote to it, or before its last turn
	uint64 message_before = 0;	  // of ours, before that turn
	core::Position before;		  // and its position
	core::Checkpoint settled;	  // without lsn: that is the slot's
	int64 revision = 0;			  // of the definition that the last worker ran with
	core::Lsn revision_lsn = 0;	  // what was committed before was judged by an earlier one
	uint64 revision_sequence = 0; // where the stream ended then
	std::string secret;			  // of the flow
};
Progress read_progress(int64 flow);

// A slot of the next generation is about to be made.
void begin_generation(int64 flow, int64 generation);

// The slot of this generation is in use, from here in the stream on. False if somebody has asked meanwhile to begin
// anew.
bool begin_streaming(int64 flow, int64 generation, const std::string &stream, uint64 first_sequence);

// Others of the family have written to the stream, which ends here. What is ours in it ends with `message`, at
// `position`.
void begin_turn(int64 flow, uint64 first_sequence, uint64 message, const core::Position &position);

// In a copy: as pgflow_resume does it, unless somebody else has done it.
void begin_anew(int64 flow);

// It writes to another stream now, which ends here.
void change_stream(int64 flow, const std::string &stream, uint64 sequence);

// The flow runs with this definition, and an earlier one has judged what was committed before `lsn` (0: nothing is
// known to be judged), when the stream ended at `sequence`.
void begin_revision(int64 flow, int64 revision, core::Lsn lsn, uint64 sequence);

void settle(int64 flow, const core::Checkpoint &settled);

// How much WAL the slot of the flow retains; 0 without a slot.
int64 retained_wal(int64 flow);

// As pgflow_pause does it.
void pause_flow(int64 flow);

void drop_slot(int64 flow);

// Drops our slots in this database that belong to no flow (to none at all, where the extension is gone) and that nobody
// uses. True if none is left.
bool drop_orphan_slots(bool extension_exists);

} // namespace pgbraid::catalog
