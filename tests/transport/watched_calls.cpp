#include "watched_calls.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <exception>
#include <future>
#include <thread>

namespace hwid::test {

namespace {

// For this thread, for as long as it lives.
int watch(long number) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(number), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{4, program};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return static_cast<int>(
      ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter));
}

void answer_calls(int listener, const std::function<int(const CallArguments&)>& answer) {
  for (;;) {
    pollfd ready{listener, POLLIN, 0};
    if (::poll(&ready, 1, -1) < 0) continue;
    if ((ready.revents & POLLIN) == 0) return;  // the thread has ended
    seccomp_notif call{};
    if (::ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) continue;
    CallArguments arguments{};
    for (std::size_t i = 0; i < arguments.size(); ++i) arguments[i] = call.data.args[i];
    seccomp_notif_resp response{};
    response.id = call.id;
    response.error = -answer(arguments);
    if (response.error == 0) response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    ::ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
  }
}

}  // namespace

bool with_watched_calls(long number, const std::function<int(const CallArguments&)>& answer,
                        const std::function<void()>& body) {
  std::promise<int> watching;
  std::exception_ptr thrown;
  std::thread thread([&] {
    const int listener = watch(number);
    watching.set_value(listener);
    if (listener < 0) return;
    try {
      body();
    } catch (...) {
      thrown = std::current_exception();
    }
  });
  const int listener = watching.get_future().get();
  if (listener >= 0) {
    answer_calls(listener, answer);
    ::close(listener);
  }
  thread.join();
  if (thrown) std::rethrow_exception(thrown);
  return listener >= 0;
}

}  // namespace hwid::test
