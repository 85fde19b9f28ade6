// One life of a flow worker: from its definition to the stream.
#pragma once
#include "catalog/flows.h"
#include "flow/source/decoder.h"
#include "flow/source/slot.h"
#include "nats/publisher.h"
#include "pg/wait.h"

#include <deque>
#include <optional>

namespace pgbraid::flow {

class Session {
public:
	explicit Session(catalog::Flow flow);
	~Session();

	[[noreturn]] void run();

	// Sleeps until WAL is on disk up to `lsn`, doing meanwhile what there is to do.
	void wait_for_wal(core::Lsn lsn);

	// Stops the publisher's thread, or leaves it to itself when it takes too long.
	void stop_publisher() noexcept { publisher_.stop(std::chrono::milliseconds{200}); }

private:
	void set_up_slot();
	void make_slot();
	Decoder::Parts parts();
	core::Lsn save_before(core::Lsn safe);
	void send_snapshot(core::Lsn lsn);
	void wait_for_stream();
	void check_tail();
	void check_writer(const core::StreamTail &tail) const;
	core::Position stored_position() const;
	[[noreturn]] void give_up_lost(const char *reason);
	[[noreturn]] void decode();

	void sleep(long timeout_ms);
	void service();
	bool server_differs();
	void report(const nats::Publisher::Progress &progress);
	void report_trouble(const nats::Publisher::Progress &progress);
	void confirm(const nats::Publisher::Progress &progress);
	void note_lag(core::Lsn safe);
	core::Lsn safe_position(const nats::Publisher::Progress &progress) const;
	long idle_timeout() const;

	catalog::Flow flow_;
	std::string slot_name_;
	std::string database_;
	catalog::Progress progress_;
	bool is_new_ = false; // the slot was made by this worker
	int event_fd_;
	pg::Waiter waiter_;
	nats::ConnectionOptions connection_; // that the publisher was made with
	nats::Publisher publisher_;
	Outlet outlet_;
	core::History history_;
	SchemaLog schema_log_;
	DeadLetters letters_;
	core::OversizeMode oversize_mode_ = core::OversizeMode::split;
	std::optional<core::Oversize> oversize_;
	std::optional<Announcer> announcer_;
	std::optional<Encoder> encoder_;
	std::optional<RelationPlans> plans_;
	std::optional<Decoder> decoder_;
	std::optional<SlotReader> reader_;

	bool between_records_ = false; // no transaction is half handed over
	unsigned configuration_;
	Decoder::Counters reported_;
	uint64_t reported_errors_ = 0, reported_retries_ = 0, reported_published_ = 0;
	struct Commit {
		core::Lsn lsn;
		TimestampTz time;
	};
	std::deque<Commit> unacknowledged_commits_; // some of them
	bool was_healthy_ = false;
	TimestampTz stable_at_ = 0; // 0 once earlier failures are forgotten
	TimestampTz next_save_ = 0;
	core::Lsn saved_ = 0;
};

} // namespace pgbraid::flow
