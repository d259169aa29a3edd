/* png.c - writing PNG (ISO/IEC 15948) with libpng's simplified interface into
 * memory, then to disk like every other file. */
#include "format/png.h"
#include "base/alloc.h"
#include "base/err.h"
#include "base/file.h"

#ifdef GENET_HAVE_PNG
#include <png.h>

bool genet__png_write(const char *path, const unsigned char *rgb, int width, int height, genet_err *err)
{
    png_image image = { .version = PNG_IMAGE_VERSION, .width = (png_uint_32)width, .height = (png_uint_32)height,
                        .format = PNG_FORMAT_RGB };
    png_alloc_size_t n = PNG_IMAGE_PNG_SIZE_MAX(image);
    unsigned char *bytes = genet__alloc(n);
    if (!bytes) return genet__err_memory(err);
    bool ok = png_image_write_to_memory(&image, bytes, &n, 0, rgb, 0, NULL) ||
              genet__err_set(err, GENET_ERR_IO, "cannot make %s: %s", path, image.message);
    ok = ok && genet__file_write_all(path, bytes, n, err);
    genet__free(bytes);
    return ok;
}
#else
bool genet__png_write(const char *path, const unsigned char *rgb, int width, int height, genet_err *err)
{
    (void)rgb, (void)width, (void)height;
    return genet__err_set(err, GENET_ERR_USAGE, "cannot write %s: this genet was built without libpng (package libpng-dev); "
                          "a .svg file needs none", path);
}
#endif
