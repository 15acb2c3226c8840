#include <fussy/codec.hpp>
