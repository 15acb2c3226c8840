#include <fussy/openpgp.hpp>
