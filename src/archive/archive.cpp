#include <fussy/archive.hpp>
