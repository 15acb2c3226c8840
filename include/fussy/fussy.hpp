/// @file fussy.hpp  Everything.
#pragma once

#include <fussy/archive.hpp>
#include <fussy/codec.hpp>
#include <fussy/deadline.hpp>
#include <fussy/error.hpp>
#include <fussy/install.hpp>
#include <fussy/io.hpp>
#include <fussy/link_tree.hpp>
#include <fussy/lock.hpp>
#include <fussy/log.hpp>
#include <fussy/migrations.hpp>
#include <fussy/nbio.hpp>
#include <fussy/openpgp.hpp>
#include <fussy/progress.hpp>
