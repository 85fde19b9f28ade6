#include "nats/attempt.h"

#include "nats/error.h"

namespace pgbraid::nats {

struct Attempt::State {
	std::mutex mutex;
	bool left_behind = false;
	std::optional<Result<std::shared_ptr<Connection>>> result;
};

namespace {

Result<std::shared_ptr<Connection>> connect(const ConnectionOptions &options)
{
	try {
		auto connection = Connection::open(options);
		if (!connection.ok())
			return connection.error();
		return std::make_shared<Connection>(std::move(*connection));
	} catch (const std::bad_alloc &) {
		return Error{sqlstate::out_of_memory, "out of memory"};
	} catch (const std::exception &exception) {
		return Error{sqlstate::connection_away, std::string("could not connect to NATS: ") + exception.what()};
	}
}

} // namespace

Attempt::Attempt(std::shared_ptr<Mailbox> mailbox, const ConnectionOptions &options) : state_(std::make_shared<State>())
{
	mailbox->run([state = state_, mailbox, options] {
		auto result = connect(options);
		std::lock_guard lock(state->mutex);
		if (!state->left_behind)
			state->result = std::move(result);
	});
}

Attempt::~Attempt()
{
	std::lock_guard lock(state_->mutex);
	state_->left_behind = true;
	state_->result.reset();
}

bool Attempt::finished() const
{
	std::lock_guard lock(state_->mutex);
	return state_->result.has_value();
}

Result<std::shared_ptr<Connection>> Attempt::result()
{
	std::lock_guard lock(state_->mutex);
	return std::move(*state_->result);
}

} // namespace pgbraid::nats
