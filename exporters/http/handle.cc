#include <exception>

#include "exporters/http/reply.h"
#include "exporters/http/router.h"
#include "heldby/http.h"
#include "heldby/self.h"

namespace heldby {

Response Handle(const Request& request) {
  const UnsampledScope unsampled;
  try {
    return http::Router().Route(request);
  } catch (const std::exception&) {
    // Out of memory, most likely: an answer without headers or body is all that needs none.
    Response response;
    response.status = 500;
    return response;
  }
}

}  // namespace heldby
