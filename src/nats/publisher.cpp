#include "nats/publisher.h"

#include "nats/mailbox.h"
#include "nats/sender.h"

namespace pgbraid::nats {

Publisher::Publisher(PublisherOptions options, int event_fd)
	: options_(std::move(options)), mailbox_(std::make_shared<Mailbox>(event_fd))
{
}

Publisher::~Publisher()
{
	stop(std::chrono::milliseconds(0));
}

void Publisher::start()
{
	mailbox_->run([mailbox = mailbox_, options = options_] { Sender(mailbox, options).run(); });
}

void Publisher::submit(std::unique_ptr<core::Batch> batch)
{
	mailbox_->submit(std::move(batch));
}

Publisher::Progress Publisher::progress() const
{
	return mailbox_->progress();
}

bool Publisher::stop(std::chrono::milliseconds patience) noexcept
{
	return mailbox_->stop(patience);
}

} // namespace pgbraid::nats
