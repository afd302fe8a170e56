// CuPy's thrust extension reports this number; its functions are those of libraries/thrust.
#pragma once

#define THRUST_VERSION 200800
