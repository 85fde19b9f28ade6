// Threads inherit the signal mask of the thread that makes them. PostgreSQL's handlers must run on its own thread only,
// so every call that may start a thread (ours or one of libnats) is made under this.
#pragma once
#include <csignal>
#include <pthread.h>

namespace pgbraid::nats {

class SignalsBlocked {
public:
	SignalsBlocked() noexcept
	{
		sigset_t all;
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &before_);
	}
	~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
	SignalsBlocked(const SignalsBlocked &) = delete;
	SignalsBlocked &operator=(const SignalsBlocked &) = delete;

private:
	sigset_t before_;
};

} // namespace pgbraid::nats
