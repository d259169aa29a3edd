/* png.h - PNG pictures, through libpng.  A build without it says so. */
#ifndef GENET_FORMAT_PNG_H
#define GENET_FORMAT_PNG_H
#include "genet/genet.h"

/* 8-bit RGB, rows from the top, width * height * 3 bytes; atomically. */
bool genet__png_write(const char *path, const unsigned char *rgb, int width, int height, genet_err *err);
#endif
