// One life of a flow worker: from its definition to the stream.
#pragma once
#include "catalog/flows.h"
#include "core/flow/resumption.h"
#include "flow/source/backfill.h"
#include "flow/source/decoder.h"
#include "flow/source/report.h"
#include "flow/source/slot.h"
#include "nats/publisher.h"
#include "pg/wait.h"

#include <optional>

namespace pgbraid::flow {

class Session {
public:
	explicit Session(catalog::Flow flow);
	~Session();

	[[noreturn]] void run();

	// Sleeps until WAL is durable up to `lsn`, doing meanwhile what there is to do.
	void wait_for_wal(core::Lsn lsn);

	// Stops the publisher's thread, or leaves it to itself when it takes too long.
	void stop_publisher() noexcept { publisher_.stop(std::chrono::milliseconds{200}); }

private:
	void set_up_slot();
	void make_slot();
	Decoder::Parts parts();
	void save_notes();
	void wait_for_stream();
	core::Resumption find_course();
	void check_course(const core::Resumption &found);
	void rewind_snapshots();
	void start_decoding(const core::Resumption &found);
	core::Position passed_over(const core::Resumption &found) const;
	[[noreturn]] void decode();
	bool has_other_work() const;
	bool shall_work(bool is_idle) const;
	void take_up_requests();
	[[noreturn]] void give_up_lost(const char *reason);
	[[noreturn]] void refuse_other_writer() const;

	void sleep(long timeout_ms);
	void service();
	bool server_differs();
	void check_publisher(const nats::Publisher::Progress &progress);
	void confirm(const nats::Publisher::Progress &progress);
	void settle();
	core::Lsn safe_position(const nats::Publisher::Progress &progress) const;
	core::Lsn durable_end() const;
	// The end moves on only, and to ask for it takes a lock that all writers of WAL take.
	bool has_read_all()
	{
		if (reader_->end() >= known_end_)
			known_end_ = durable_end();
		return reader_->end() >= known_end_;
	}
	long idle_timeout() const;
	uint64_t await_empty();

	catalog::Flow flow_;
	std::string slot_name_;
	std::string database_;
	catalog::Progress progress_;
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
	Report report_;
	std::string mask_key_; // that the masks are made with
	std::optional<core::Hmac> hmac_;
	std::optional<Encoder> encoder_;
	std::optional<RelationPlans> plans_;
	std::optional<Decoder> decoder_;
	std::optional<SlotReader> reader_;
	std::optional<Backfill> backfill_;

	core::Lsn known_end_ = 0;	   // WAL is durable up to there, at least
	bool between_records_ = false; // no transaction is half handed over
	unsigned configuration_;
	uint32 touched_;
	core::Checkpoint found_;						 // at the end of the stream, when this worker started
	TimestampTz next_work_ = 0, next_idle_work_ = 0; // of the backfill, while there are changes to publish, or none
	core::Settling settling_;
	TimestampTz next_checkpoint_ = 0;
	TimestampTz stable_at_ = 0; // 0 once earlier failures are forgotten
};

} // namespace pgbraid::flow
